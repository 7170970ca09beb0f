import base64
import dataclasses
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.factories import classifier, image_set, predictions
from workbench.attribution.cache import MapCache
from workbench.attribution.exact import class_maps
from workbench.core.predictions import Predictions
from workbench.errors import DataError
from workbench.evidence.stored import store_verdicts
from workbench.explorer import modules, page
from workbench.explorer.explain import explain
from workbench.explorer.judge import Judge
from workbench.explorer.state import ExplorerState
from workbench.models.predict import predict
from workbench.runs.run import Run

REPOSITORY = Path(__file__).resolve().parents[4]
STATIC = REPOSITORY / "workbench" / "explorer" / "static"


@pytest.fixture(scope="module")
def run() -> Run:
    images, model = image_set(60), classifier()
    return Run("tiny", predict(model, images), images, model)


def script(text: str, name: str) -> str:
    found = re.search(rf'<script type="[^"]*" id="{name}">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    return found[1]


def test_the_page_holds_what_the_run_says(run: Run) -> None:
    text, left_out = page.page(ExplorerState(run))
    assert left_out == []
    bundle, data = json.loads(script(text, "bundle")), base64.b64decode(script(text, "data"))

    def part(name: str, kind: str) -> np.ndarray:
        at = bundle["parts"][name]
        return np.frombuffer(data[at["first"] : at["first"] + at["bytes"]], kind)

    assert (part("column label", "u2") == run.predictions.label).all()
    assert np.allclose(part("column confidence", "f4"), run.predictions.confidence)
    shares = part("probability", "u2").reshape(60, 3) / 65535
    assert np.abs(shares - run.predictions.probability).max() <= 0.5 / 65535 + 1e-7
    grids = part("grids", "f2").reshape(60, 3, 4, 4).astype(np.float32)
    exact = class_maps(run.classifier, run.images.pixels).values  # type: ignore[arg-type, union-attr]
    assert np.allclose(grids, exact, rtol=2e-3, atol=1e-4)
    cells = np.array(bundle["header"]["cells"]).reshape(-1, 3)
    assert cells[:, 2].sum() == 60
    assert bundle["header"]["errors"] == run.predictions.error_count


def test_the_page_asks_nothing_of_any_network(run: Run) -> None:
    text, _ = page.page(ExplorerState(run), maps=False)
    assert "default-src 'none'" in text
    rest = text.replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?://", rest.split('id="data"')[0].split('id="bundle"')[0])
    assert not re.search(
        r"\b(fetch|XMLHttpRequest|WebSocket|EventSource|importScripts|import)\s*\(", modules.join_modules("page.js")
    )


def test_names_are_text_and_end_no_script() -> None:
    p = predictions(120)
    names = ("</script><script>alert(1)</script>", "<!--", "&amp;", "مرحبا")
    state = ExplorerState(Run("</title><b>x", Predictions(p.table, names)))
    text, _ = page.page(state)
    assert text.count("</script>") == 3
    assert "<b>x" not in text
    assert "<!--" not in text
    assert json.loads(script(text, "bundle"))["header"]["classes"] == list(names)


def test_what_does_not_fit_is_said_and_errors_come_first(run: Run) -> None:
    state = ExplorerState(run)
    small = len(page.page(state, maps=False)[0].encode()) / 1e6
    with pytest.raises(DataError, match="raise the limit"):
        page.page(state, limit_mb=0.01)
    pictures = len(page.page(ExplorerState(Run("x", run.predictions)), maps=False)[0].encode()) / 1e6
    text, left_out = page.page(state, limit_mb=(small + pictures) / 2 - 0.02, maps=False)
    assert len(text.encode()) / 1e6 <= (small + pictures) / 2
    bundle = json.loads(script(text, "bundle"))
    sheets = [part["rows"] for name, part in bundle["parts"].items() if name.startswith("sheet")]
    if sum(map(len, sheets)) < 60:
        assert left_out[0].startswith("pictures: ")


def test_without_images_or_model_it_says_so() -> None:
    _, left_out = page.page(ExplorerState(Run("bare", predictions(100))))
    assert len(left_out) == 2


def test_a_notebook_keeps_its_worst_errors(run: Run) -> None:
    text = page.kept_with_notebook(ExplorerState(run))
    assert text.startswith("<details")
    assert len(text) < 1_500_000
    assert "The kernel that drew this explorer is gone" in text


def test_modules_share_one_scope() -> None:
    """Joined, no name may be defined twice, and nothing may be left to import."""
    for entry in ("widget.js", "page.js"):
        text = modules.join_modules(entry)
        names = re.findall(r"^(?:async )?(?:function|const|let|class) (\w+)", text, re.MULTILINE)
        for several in re.findall(r"^(?:const|let) \[([^\]]*)\]", text, re.MULTILINE):
            names += [name.strip() for name in several.split(",")]
        assert len(names) == len(set(names)), {name for name in names if names.count(name) > 1}
        assert not re.search(r"^(import|export (?!default))", text, re.MULTILINE)
    assert modules.join_modules("widget.js").count("export default") == 1


@pytest.mark.parametrize("entry", ["widget.js", "page.js"])
def test_joined_modules_are_one_valid_module(entry: str, tmp_path: Path) -> None:
    if shutil.which("node") is None:
        pytest.skip("no Node on this machine")
    (tmp_path / "joined.mjs").write_text(modules.join_modules(entry), encoding="utf-8")
    done = subprocess.run(["node", "--check", tmp_path / "joined.mjs"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_module_is_used() -> None:
    both = modules.join_modules("widget.js") + modules.join_modules("page.js")
    assert {p.name for p in STATIC.glob("*.js")} == set(re.findall(r"^// (\w+\.js)$", both, re.MULTILINE))


def test_the_modules_pass_their_own_tests() -> None:
    if shutil.which("node") is None:
        pytest.skip("no Node on this machine")
    files = sorted((REPOSITORY / "tests" / "js").glob("*.test.mjs"))
    done = subprocess.run(["node", "--test", *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:]
    assert "# fail 0" in done.stdout or "fail 0" in done.stdout


def test_the_browser_draws_a_map_as_figures_do(run: Run, tmp_path: Path) -> None:
    if shutil.which("node") is None:
        pytest.skip("no Node on this machine")
    from workbench.images import render

    image = run.images.image(0)  # type: ignore[union-attr]
    values = np.random.default_rng(0).normal(size=(4, 4)).astype(np.float32)
    found = {}
    for signed in (False, True):
        top = render.scale_of(values, signed=signed)
        code = f"""
            import {{ overlay, scaleOf }} from "{STATIC}/picture.js";
            const rgb = {image.ravel().tolist()};
            const data = [];
            for (let k = 0; k < rgb.length; k += 3) data.push(rgb[k], rgb[k + 1], rgb[k + 2], 255);
            const ramp = {np.rint(render.colour_ramp(signed) * 255).astype(int).ravel().tolist()};
            const values = Float32Array.from({values.ravel().tolist()});
            const top = scaleOf([values], {str(signed).lower()});
            const image = {{ data, width: 32, height: 32 }};
            console.log(JSON.stringify([...overlay(image, values, [4, 4], top, {str(signed).lower()}, ramp, 64)]));
        """
        (tmp_path / "draw.mjs").write_text(code)
        done = subprocess.run(["node", tmp_path / "draw.mjs"], capture_output=True, text=True, check=True)
        theirs = np.array(json.loads(done.stdout)).reshape(64, 64, 4)[..., :3]
        mine = render.overlay(render.enlarge(image, 2), values, top, signed=signed)
        found[signed] = int(np.abs(theirs - mine.astype(int)).max())
    assert max(found.values()) <= 4, found  # one step of the ramp apart, where rounding differs


def test_the_page_and_the_judge_take_the_evidence_that_was_kept(run: Run, tmp_path: Path) -> None:
    kept = dataclasses.replace(run, folder=tmp_path)
    assert run.classifier is not None
    of = int(run.predictions.predicted[3])
    known: dict[str, list[object]] = {
        "index": [3],
        "target": [of],
        "against": [None],
        "method": ["Grad-CAM"],
        "layer": ["stage4"],
    }
    known |= {"verdict": ["against"], "reasons": ["as measured"]}
    table = pl.DataFrame(known, schema_overrides={"against": pl.Int64})
    store_verdicts(MapCache(tmp_path / "maps"), run.classifier, table)
    text, _ = page.page(ExplorerState(kept))
    at = json.loads(script(text, "bundle"))["parts"]["verdicts"]
    data = base64.b64decode(script(text, "data"))[at["first"] : at["first"] + at["bytes"]]
    assert json.loads(data) == {f"3 {of} -1": [2, "as measured"]}
    heard: list[tuple[int, str, str]] = []
    shown = explain(kept, 3, ["Grad-CAM"], [], ["predicted"])
    Judge(kept).verdicts(3, shown, lambda *said: heard.append(said))
    assert heard == [(0, "against", "as measured")]
