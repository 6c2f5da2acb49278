"""HILP: foundation policies with Hilbert representations (Park et al., ICML 2024)."""
