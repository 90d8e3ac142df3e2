"""Pages as plain data: what the dashboard shows alive and a report keeps."""
