"""The authors' published score files and accuracies."""
