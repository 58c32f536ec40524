"""The overrides of a run that takes a second."""

SMALL = (
    "data.source=sample",
    "trainer.accelerator=cpu",
    "trainer.max_epochs=2",
    "model.network.encoder_sizes=[32]",
    "model.network.decoder_sizes=[32]",
    "trainer.log_every_n_steps=2",
    "+trainer.limit_train_batches=5",
    "callbacks.latent_panel=null",  # would double the time; it has tests of its own
)
