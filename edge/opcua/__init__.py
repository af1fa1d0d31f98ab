"""Serve the device over OPC UA, in the words of OPC 40100-1 (machine vision), beside inspection."""
