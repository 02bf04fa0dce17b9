"""What is counted, in what buckets, and how it is logged."""
