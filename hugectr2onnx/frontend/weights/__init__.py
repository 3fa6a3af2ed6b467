"""The files of a snapshot: dense weights, statistics of BatchNorm, embedding tables."""
