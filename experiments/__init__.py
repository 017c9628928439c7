"""What is run: configurations, training runs, measurements along training, studies."""
