"""What Tidegate decides (pure modules), what carries it out (usecases) and what talks to AWS (adapters)."""
