"""Provide values, errors and files that every room uses; imports no other room."""
