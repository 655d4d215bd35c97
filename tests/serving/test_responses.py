"""What the service answers is what the library finds and draws."""

import base64
import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO as CocoTools

from higherhrnet import Poses, Predictor, Skeleton, draw, read_image
from higherhrnet.io.images import encode_image
from higherhrnet.synthetic.scenes import draw_scene
from tests.serving.conftest import DRAWN, SCENE, Service


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor.load(DRAWN, engine="onnxruntime", threads=1)


def scene(seed: int, height: int = 96, width: int = 128) -> bytes:
    return encode_image(draw_scene(seed, height=height, width=width).image, ".png")


def form(*files: bytes) -> tuple[bytes, str]:
    parts = [
        b'--x\r\nContent-Disposition: form-data; name="a"; filename="a.png"\r\n\r\n%s\r\n' % file
        for file in files
    ]
    return b"".join(parts) + b"--x--\r\n", "multipart/form-data; boundary=x"


def same(annotations: list[dict[str, object]], poses: Poses) -> bool:
    found = Poses.from_coco(annotations, poses.skeleton)
    return len(found) == len(poses) and all(
        np.allclose(getattr(found, field), getattr(poses, field), atol=2e-3)
        for field in ("keypoints", "keypoint_scores", "scores")
    )


def test_a_photograph_gives_the_librarys_people(service: Service, predictor: Predictor) -> None:
    reply = service.post("/poses")
    assert reply.status == 200 and reply.headers["content-type"] == "application/json"
    assert same(reply.json["annotations"], predictor(io.BytesIO(SCENE)))
    (category,) = reply.json["categories"]
    assert Skeleton.from_category(category) == predictor.header.skeleton


def test_the_answer_is_a_coco_file(service: Service) -> None:
    tools = CocoTools()
    tools.dataset = service.post("/poses").json
    tools.createIndex()
    assert len(tools.getAnnIds(imgIds=[1], catIds=[1])) == 3
    assert tools.loadImgs([1])[0]["width"] == 384


def test_settings_of_a_request_are_its_own(service: Service, predictor: Predictor) -> None:
    flipped = Predictor(predictor.engine, predictor.header, replace(predictor.config, flip=True))
    with ThreadPoolExecutor(8) as pool:
        asked = ["/poses", "/poses?flip=true", "/poses?flip=false", "/poses?min_score=0.7"] * 4
        replies = [reply.json["annotations"] for reply in pool.map(service.post, asked)]
    plain, mirrored = predictor(io.BytesIO(SCENE)), flipped(io.BytesIO(SCENE))
    assert not np.allclose(plain.scores, mirrored.scores)
    for start in range(0, 16, 4):
        for found, poses in zip(
            replies[start:], (plain, mirrored, plain, plain.above(0.7)), strict=False
        ):
            assert same(found, poses)


def test_many_clients_each_get_their_own(service: Service, predictor: Predictor) -> None:
    sizes = [(96, 128), (128, 96), (100, 100), (64, 200)] * 6
    files = [scene(seed, *size) for seed, size in enumerate(sizes)]
    with ThreadPoolExecutor(12) as pool:
        replies = list(pool.map(lambda file: service.post("/poses", file), files))
    for file, (height, width), reply in zip(files, sizes, replies, strict=True):
        (image,) = reply.json["images"]
        assert (image["height"], image["width"]) == (height, width)
        assert same(reply.json["annotations"], predictor(io.BytesIO(file)))


def test_several_in_a_form_are_as_each_alone(service: Service) -> None:
    files = [scene(1), SCENE, scene(2)]
    answer = service.post("/poses", *form(*files)).json
    assert [image["id"] for image in answer["images"]] == [1, 2, 3]
    assert [p["id"] for p in answer["annotations"]] == [*range(1, len(answer["annotations"]) + 1)]
    for i, file in enumerate(files, 1):
        alone = service.post("/poses", file).json["annotations"]
        mine = [person for person in answer["annotations"] if person["image_id"] == i]
        strip = [{**person, "id": 0, "image_id": 0} for person in mine]
        assert strip == [{**person, "id": 0, "image_id": 0} for person in alone]


def test_the_picture_is_drawn(service: Service, predictor: Predictor) -> None:
    image = read_image(io.BytesIO(SCENE))
    reply = service.post("/picture?format=png")
    assert reply.headers["content-type"] == "image/png"
    assert np.array_equal(read_image(io.BytesIO(reply.body)), draw(image, predictor(image)))
    reply = service.post("/picture")
    assert reply.headers["content-type"] == "image/jpeg"
    assert read_image(io.BytesIO(reply.body)).shape == image.shape


def test_maps_lie_where_the_people_are(service: Service) -> None:
    """Over the photograph, as their bbox says, heatmaps glow at every keypoint."""
    answer = service.post("/poses?maps=true", scene(3, 90, 160)).json
    maps = answer["images"][0]["maps"]
    glow, tags = (
        read_image(io.BytesIO(base64.b64decode(maps[name].split(",")[1])))
        for name in ("heatmaps", "tags")
    )
    assert glow.shape == tags.shape
    left, top, width, height = maps["bbox"]
    assert left <= 0 and top <= 0 and left + width >= 160 and top + height >= 90
    saturation = np.ptp(glow, 2)
    points = np.array([p["keypoints"] for p in answer["annotations"]]).reshape(-1, 3)
    x = (points[:, 0] + 0.5 - left) / width * glow.shape[1]
    y = (points[:, 1] + 0.5 - top) / height * glow.shape[0]
    at_keypoints = saturation[y.astype(int), x.astype(int)]
    assert len(points) and np.median(at_keypoints) > 3 * np.median(saturation)


def test_a_photograph_on_its_side_is_turned(service: Service) -> None:
    exif = Image.Exif()
    exif[0x112] = 6
    turned = io.BytesIO()
    Image.open(io.BytesIO(SCENE)).rotate(90, expand=True).save(
        turned, "JPEG", exif=exif, quality=95
    )
    answer = service.post("/poses?min_score=0.5", turned.getvalue(), "image/jpeg").json
    assert (answer["images"][0]["width"], answer["images"][0]["height"]) == (384, 256)
    assert len(answer["annotations"]) == 3


@pytest.mark.parametrize("kind", ["jpeg", "webp"])
def test_other_kinds(kind: str, service: Service) -> None:
    data = encode_image(read_image(io.BytesIO(SCENE)), f".{kind}")
    answer = service.post("/poses?min_score=0.5", data, f"image/{kind}").json
    assert len(answer["annotations"]) == 3


def test_it_says_what_it_is_and_that_it_is_well(service: Service) -> None:
    told = service.ask("GET", "/about").json
    assert "onnxruntime" in told["engine"] and len(told["keypoints"]) == 17
    assert service.ask("GET", "/health").status == service.ask("GET", "/ready").status == 200
    before = service.figure("higherhrnet_people_total")
    service.post("/poses")
    assert service.figure("higherhrnet_people_total") == before + 3


def test_the_descriptions_example_is_real(service: Service) -> None:
    schemas = service.ask("GET", "/openapi.json").json["components"]["schemas"]
    example, answer = schemas["Answer"]["example"], service.post("/poses").json
    assert example["images"] == answer["images"] and example["categories"] == answer["categories"]
    for shown, person in zip(example["annotations"], answer["annotations"], strict=True):
        assert shown["keypoints"] == pytest.approx(person["keypoints"], abs=0.02)
