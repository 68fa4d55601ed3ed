"""Numbers about a data set: histograms, statistics, and how far raters agree."""
