"""The errors that plant_errors.py plants."""
