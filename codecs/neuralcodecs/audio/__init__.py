"""Audio edges: files, datasets, losses, discriminators, metrics."""
