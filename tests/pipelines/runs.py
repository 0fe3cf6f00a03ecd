"""What every tracked run holds, whatever the domain."""


def check_run(client, run, files):
    """Keys by which runs are compared, files, and a model that can be served."""
    assert run.info.status == "FINISHED"
    assert {"data", "data_digest", "random_state"} <= set(run.data.params)
    assert len(run.data.params["data_digest"]) == 64
    assert "titans_seq.version" in run.data.tags
    assert {"train_loss", "val_loss", "best_val_loss", "fit_seconds", "epochs"} <= set(run.data.metrics)
    losses = [m.value for m in client.get_metric_history(run.info.run_id, "val_loss")]
    assert len(losses) == run.data.metrics["epochs"]
    assert min(losses) == run.data.metrics["best_val_loss"]
    assert any(name.startswith("test_") for name in run.data.metrics)
    assert run.inputs.dataset_inputs[0].dataset.digest
    assert {a.path for a in client.list_artifacts(run.info.run_id)} == files
    (output,) = run.outputs.model_outputs
    assert client.get_logged_model(output.model_id).status == "READY"
