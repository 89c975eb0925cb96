"""The demo: real flights go in as files, checked Delta tables come out."""
