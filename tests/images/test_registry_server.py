"""The registry's server in its image, started as deploy/registry starts it."""

from pathlib import Path

from penstock.registry.connection import open_registry


def test_a_model_and_its_files_go_through_the_server(registry_server, tmp_path):
    client = open_registry(registry_server).client
    run = client.create_run(client.create_experiment("trains"))
    (tmp_path / "model.txt").write_text("weights")
    client.log_artifact(run.info.run_id, str(tmp_path / "model.txt"))
    client.create_registered_model("trains")
    made = client.create_model_version("trains", run.info.artifact_uri, run.info.run_id)
    client.set_registered_model_alias("trains", "champion", made.version)

    assert client.get_model_version_by_alias("trains", "champion").version == made.version
    (there := tmp_path / "there").mkdir()
    found = client.download_artifacts(run.info.run_id, "model.txt", str(there))
    assert Path(found).read_text() == "weights"
