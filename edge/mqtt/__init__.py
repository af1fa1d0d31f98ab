"""Sending what is recorded to a mill's MQTT broker, each at least once."""
