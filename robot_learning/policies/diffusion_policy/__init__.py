"""Diffusion Policy: visuomotor policy learning via action diffusion (Chi et al., RSS 2023), the transformer variant."""
