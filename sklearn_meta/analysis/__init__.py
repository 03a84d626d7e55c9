"""Task distributions, relatedness of tasks, and when meta-learning pays."""

__all__: list[str] = []
