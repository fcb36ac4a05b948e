"""Trees: bins, histograms, growth, and the ensembles they make."""
