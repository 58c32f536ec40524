"""What TensorBoard shows of a run."""

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def scalars_of(folder):
    """The curves of a run, but for its speed: tag → (step, value)s."""
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
        if tag != "train/images_per_second"
    }
