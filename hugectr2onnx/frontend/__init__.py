"""Files to IR: readers of everything that HugeCTR writes, the layers, and the importer that joins them."""
