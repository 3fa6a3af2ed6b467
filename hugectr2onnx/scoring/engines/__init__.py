"""The same job on the engines that people have: Ray Data and Spark."""
