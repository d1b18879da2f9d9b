"""Building blocks: tensor in, tensor out."""
