"""Play-LMP: latent plans from play."""
