"""What every LightningModule of the project shares."""
