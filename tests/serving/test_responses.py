"""The responses of the service equal what the library finds and draws."""

import base64
import io
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from higherhrnet import Poses, Predictor, draw, read_image
from higherhrnet.io.images import encode_image
from higherhrnet.io.skeleton_files import category_skeleton
from higherhrnet.serving.inference_service import InferenceResult
from higherhrnet.serving.responses import image_entry
from higherhrnet.synthetic.scenes import draw_scene
from tests.conftest import ModelFiles
from tests.serving.conftest import DRAWN, SCENE, Service


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor.load(DRAWN, engine="onnxruntime", threads=1)


def scene(seed: int, height: int = 96, width: int = 128) -> bytes:
    """A PNG of a synthetic scene."""
    return encode_image(draw_scene(seed, height=height, width=width).image, ".png")


def form(*files: bytes) -> tuple[bytes, str]:
    """The body and the content type of a form with these files."""
    parts = [
        b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n%s\r\n'
        % file
        for file in files
    ]
    return b"".join(parts) + b"--x--\r\n", "multipart/form-data; boundary=x"


def equal(annotations: list[dict[str, object]], expected: Poses) -> bool:
    """Whether a response contains these poses, up to the rounding of its numbers."""
    poses = Poses.from_coco(annotations, expected.skeleton)
    return len(poses) == len(expected) and all(
        np.allclose(getattr(poses, field), getattr(expected, field), atol=2e-3)
        for field in ("keypoints", "keypoint_scores", "scores")
    )


def test_poses_equal_those_of_the_library(service: Service, predictor: Predictor) -> None:
    reply = service.post("/poses")
    assert reply.status == 200 and reply.headers["content-type"] == "application/json"
    assert equal(reply.json["annotations"], predictor(io.BytesIO(SCENE)))
    (category,) = reply.json["categories"]
    assert category_skeleton(category) == predictor.header.skeleton


def test_pycocotools_reads_the_response(service: Service) -> None:
    coco = COCO()
    coco.dataset = service.post("/poses").json
    coco.createIndex()
    assert len(coco.getAnnIds(imgIds=[1], catIds=[1])) == 3
    assert coco.loadImgs([1])[0]["width"] == 384


def test_concurrent_requests_have_their_own_settings(
    service: Service, predictor: Predictor
) -> None:
    with_flip = Predictor(predictor.engine, predictor.header, replace(predictor.config, flip=True))
    with ThreadPoolExecutor(8) as pool:
        paths = ["/poses", "/poses?flip=true", "/poses?flip=false", "/poses?min_score=0.7"] * 4
        responses = [reply.json["annotations"] for reply in pool.map(service.post, paths)]
    plain, flipped = predictor(io.BytesIO(SCENE)), with_flip(io.BytesIO(SCENE))
    assert not np.allclose(plain.scores, flipped.scores)
    expected = [plain, flipped, plain, plain.above(0.7)] * 4
    assert all(map(equal, responses, expected))


@pytest.mark.slow
def test_concurrent_clients_receive_the_poses_of_their_own_image(
    service: Service, predictor: Predictor
) -> None:
    sizes = [(96, 128), (128, 96), (100, 100), (64, 200)] * 6
    files = [scene(seed, *size) for seed, size in enumerate(sizes)]
    with ThreadPoolExecutor(12) as pool:
        replies = list(pool.map(lambda file: service.post("/poses", file), files))
    for file, (height, width), reply in zip(files, sizes, replies, strict=True):
        (image,) = reply.json["images"]
        assert (image["height"], image["width"]) == (height, width)
        assert equal(reply.json["annotations"], predictor(io.BytesIO(file)))


def test_a_form_with_several_images_equals_single_requests(service: Service) -> None:
    files = [scene(1), SCENE, scene(2)]
    response = service.post("/poses", *form(*files)).json
    people = response["annotations"]
    assert [image["id"] for image in response["images"]] == [1, 2, 3]
    assert [person["id"] for person in people] == [*range(1, len(people) + 1)]
    for image_id, file in enumerate(files, 1):
        single = service.post("/poses", file).json["annotations"]
        in_form = [person for person in people if person["image_id"] == image_id]
        assert len(in_form) == len(single) > 0
        for person, alone in zip(in_form, single, strict=True):
            assert person.keys() == alone.keys()
            # Rounding depends on the number of images in a batch.
            for name in person.keys() - {"id", "image_id"}:
                assert person[name] == pytest.approx(alone[name], rel=1e-3, abs=2e-3), name


def test_the_drawn_image_equals_that_of_the_library(service: Service, predictor: Predictor) -> None:
    image = read_image(io.BytesIO(SCENE))
    reply = service.post("/image?format=png")
    assert reply.headers["content-type"] == "image/png"
    drawn, expected = read_image(io.BytesIO(reply.body)), draw(image, predictor(image))
    # A process may round a coordinate differently, which moves the edge of a line by a pixel.
    assert (drawn != expected).any(2).mean() < 0.1 * (expected != image).any(2).mean()
    reply = service.post("/image")
    assert reply.headers["content-type"] == "image/jpeg"
    assert read_image(io.BytesIO(reply.body)).shape == image.shape


def test_arrows_of_offsets_are_drawn_on_an_enlarged_image(small_offset_model: ModelFiles) -> None:
    predictor = Predictor.load(small_offset_model.onnx, engine="onnxruntime", threads=1)
    data = scene(0, 64, 96)
    preprocessed = predictor.preprocess(read_image(io.BytesIO(data)))
    (outputs,) = predictor.forward([preprocessed])
    poses = predictor.postprocess(preprocessed, outputs)
    result = InferenceResult(predictor, data, (64, 96), preprocessed, outputs, poses)
    maps = image_entry(result, maps=True)[0]["maps"]
    assert set(maps) == {"heatmaps", "offsets", "bbox"}
    drawn = read_image(io.BytesIO(base64.b64decode(maps["offsets"].split(",")[1])))
    height, width = drawn.shape[:2]
    base = preprocessed.base_resize
    assert width >= 512 and width / height == base.width / base.height


def test_heatmaps_are_high_at_the_keypoints(service: Service) -> None:
    """The heatmaps, placed on the image by their bbox, are brightly colored at the keypoints."""
    response = service.post("/poses?maps=true", scene(3, 90, 160)).json
    maps = response["images"][0]["maps"]
    heatmaps, tags = (
        read_image(io.BytesIO(base64.b64decode(maps[name].split(",")[1])))
        for name in ("heatmaps", "tags")
    )
    assert heatmaps.shape == tags.shape
    left, top, width, height = maps["bbox"]
    assert left <= 0 and top <= 0 and left + width >= 160 and top + height >= 90
    saturation = np.ptp(heatmaps, 2)
    points = np.array([p["keypoints"] for p in response["annotations"]]).reshape(-1, 3)
    x = (points[:, 0] + 0.5 - left) / width * heatmaps.shape[1]
    y = (points[:, 1] + 0.5 - top) / height * heatmaps.shape[0]
    at_keypoints = saturation[y.astype(int), x.astype(int)]
    assert len(points) and np.median(at_keypoints) > 3 * np.median(saturation)


def test_the_exif_orientation_is_applied(service: Service) -> None:
    exif = Image.Exif()
    exif[0x112] = 6
    file = io.BytesIO()
    rotated = Image.open(io.BytesIO(SCENE)).rotate(90, expand=True)
    rotated.save(file, "JPEG", exif=exif, quality=95)
    response = service.post("/poses?min_score=0.5", file.getvalue(), "image/jpeg").json
    assert (response["images"][0]["width"], response["images"][0]["height"]) == (384, 256)
    assert len(response["annotations"]) == 3


@pytest.mark.parametrize("kind", ["jpeg", "webp"])
def test_jpeg_and_webp_are_accepted(kind: str, service: Service) -> None:
    data = encode_image(read_image(io.BytesIO(SCENE)), f".{kind}")
    response = service.post("/poses?min_score=0.5", data, f"image/{kind}").json
    assert len(response["annotations"]) == 3


@pytest.mark.parametrize(
    "media_type", ["image/jpg", "image/pjpeg", "application/octet-stream", "IMAGE/JPEG; q=1"]
)
def test_other_media_types_of_jpeg_are_accepted(media_type: str, service: Service) -> None:
    data = encode_image(read_image(io.BytesIO(SCENE)), ".jpg")
    assert len(service.post("/poses?min_score=0.5", data, media_type).json["annotations"]) == 3


@pytest.mark.parametrize(
    "encoded",
    [
        base64.b64encode(SCENE).decode(),
        base64.encodebytes(SCENE).decode(),  # with line breaks
        base64.urlsafe_b64encode(SCENE).decode().rstrip("="),
        "data:image/png;base64," + base64.b64encode(SCENE).decode(),
        "DATA:;charset=utf-8;BASE64," + base64.b64encode(SCENE).decode(),
    ],
    ids=["plain", "lines", "URL-safe", "data URL", "data URL in capitals"],
)
@pytest.mark.parametrize("as_list", [False, True])
def test_base64_in_json_equals_the_file(as_list: bool, encoded: str, service: Service) -> None:
    expected = service.post("/poses").json
    body = json.dumps({"image": [encoded] if as_list else encoded}).encode()
    for media_type in ("application/json", "application/json; charset=utf-8"):
        reply = service.post("/poses", body, media_type)
        assert (reply.status, reply.json) == (200, expected)
    drawn = service.post("/image?format=png", body, "application/json")
    assert drawn.body == service.post("/image?format=png").body


def test_several_images_in_json_equal_those_of_a_form(service: Service) -> None:
    files = [scene(1), SCENE, scene(2)]
    encoded = [base64.b64encode(file).decode() for file in files]
    expected = service.post("/poses", *form(*files)).json
    for content in (
        {"image": encoded},
        {"images": encoded},
        {"image": encoded[0], "images": encoded[1:]},
    ):
        body = json.dumps(content).encode("utf-8-sig")
        assert service.post("/poses", body, "application/json").json == expected


def test_other_fields_are_ignored_and_reported(service: Service) -> None:
    expected = service.post("/poses")
    assert "x-ignored-fields" not in expected.headers
    text = (
        '--x\r\nContent-Disposition: form-data; name="user name"\r\n\r\nJosé\r\n'
        '--x\r\nContent-Disposition: form-data; name="größe"\r\n\r\n\r\n'
    )
    body, content_type = form(SCENE)
    for mixed in (text.encode() + body, body[: -len(b"--x--\r\n")] + text.encode() + b"--x--\r\n"):
        reply = service.post("/poses", mixed, content_type)
        assert (reply.status, reply.json) == (200, expected.json)
        assert reply.headers["x-ignored-fields"].startswith("user%20name, gr")
    content = {"id": 7, "image": base64.b64encode(SCENE).decode(), "line\nbreak": [{}]}
    for path in ("/poses", "/image"):
        reply = service.post(path, json.dumps(content).encode(), "application/json")
        assert (reply.status, reply.headers["x-ignored-fields"]) == (200, "id, line%0Abreak")


@pytest.mark.parametrize(
    ("names", "header"),
    [
        (["", "b"], '"", b'),
        (["b", ""], 'b, ""'),
        ([""], '""'),
        (["a" * 998, "b"], "a" * 998),  # the header is cut before a space
        (["a" * 999, "b"], "a" * 999),
        ([" "], "%20"),
    ],
)
def test_any_name_of_an_ignored_field_gives_a_valid_header(
    names: list[str], header: str, service: Service
) -> None:
    content = dict.fromkeys(names) | {"image": base64.b64encode(SCENE).decode()}
    reply = service.post("/poses", json.dumps(content).encode(), "application/json")
    assert (reply.status, reply.headers["x-ignored-fields"]) == (200, header)


@pytest.mark.parametrize("path", ["/", "/page.js", "/info", "/health", "/ready"])
def test_head_returns_the_headers_without_a_body(path: str, service: Service) -> None:
    head, get = (service.request(method, path) for method in ("HEAD", "GET"))
    assert (head.status, head.body) == (200, b"")
    for name in ("content-type", "content-length", "x-content-type-options"):
        assert head.headers[name] == get.headers[name]


def test_info_health_and_metrics_describe_the_service(service: Service) -> None:
    info = service.request("GET", "/info").json
    assert "onnxruntime" in info["engine"] and len(info["keypoints"]) == 17
    assert info["token_required"] is False and info["max_megabytes"] == 2
    assert (
        service.request("GET", "/health").status == service.request("GET", "/ready").status == 200
    )
    before = service.metric("higherhrnet_people_total")
    service.post("/poses")
    assert service.metric("higherhrnet_people_total") == before + 3


def test_the_example_of_the_description_is_a_real_response(service: Service) -> None:
    schemas = service.request("GET", "/openapi.json").json["components"]["schemas"]
    example, response = schemas["PosesResponse"]["example"], service.post("/poses").json
    assert example["images"] == response["images"]
    assert example["categories"] == response["categories"]
    for shown, person in zip(example["annotations"], response["annotations"], strict=True):
        assert shown.keys() == person.keys()
        assert shown["keypoints"] == pytest.approx(person["keypoints"], abs=0.02)
