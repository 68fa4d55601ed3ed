"""What lies in a repository: adapters, towers of larger checkpoints, and how they are recognised."""
