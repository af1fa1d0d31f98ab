"""Send recorded events to a plant's MQTT broker, each at least once."""
