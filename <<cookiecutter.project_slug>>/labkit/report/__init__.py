"""Pictures and pages of what happened."""
