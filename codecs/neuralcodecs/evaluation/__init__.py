"""What is measured on a codec: real files, metrics, tables, plots."""
