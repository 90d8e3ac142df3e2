from << cookiecutter.package_name >>.train import train

from .project import Project


def test_one_frame_after_the_other_tells_nothing(project: Project) -> None:
    from labkit.training.duration import Duration

    run, long = project.make_run(), Duration(5, "epochs")
    train(run, architecture="mlp", duration=long, validation_every=long)
    assert run.history["validation/accuracy"][1][-1] <= 0.3
