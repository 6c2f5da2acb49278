"""Virtual devices that speak the real wire protocols, moved by physics: what drivers are tested against, and dry runs use."""
