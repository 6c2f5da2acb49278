"""BESO: goal-conditioned imitation with score-based diffusion (Reuss et al., RSS 2023)."""
