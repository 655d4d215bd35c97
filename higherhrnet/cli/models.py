"""models: lists the published models."""

from __future__ import annotations

from higherhrnet.cli.options import Flag


def models(check: Flag = False) -> int:
    """List the published models, which --model NAME downloads when they are first used.

    Args:
        check: Request each file from its server and print whether it can be downloaded. The exit
            code is 1 if some cannot.
    """
    from higherhrnet.zoo.manual import MANUAL
    from higherhrnet.zoo.published import PUBLISHED
    from higherhrnet.zoo.table import format_models

    if not check:
        print(format_models(PUBLISHED))
        print("\nnot downloaded by --model, but by hand:")
        for manual in MANUAL:
            print(f"{manual.name}: {manual.instructions}")
        return 0
    from higherhrnet.zoo.check_links import check_links
    from higherhrnet.zoo.download import address

    problems = 0
    for model, problem in check_links(PUBLISHED):
        print(f"{model.name:26}{problem or 'available'}, {address(model)}", flush=True)
        problems += problem is not None
    return 1 if problems else 0
