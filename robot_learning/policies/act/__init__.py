"""ACT and ACT-JEPA: chunks of actions from a transformer over states, goals and image cells."""
