"""Contract suites, one per seam; every implementation inherits them."""
