"""What a person looks at: located sources beside the spectrum of their snapshots, as figures and as pages."""
