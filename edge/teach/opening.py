"""Open an article file for a run: its reference model, and the thresholds that go with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edge.core.contract import ModelContract
from edge.core.counted import counted
from edge.core.errors import ContractError
from edge.reference.maps import CHANNELS
from edge.reference.model import ReferenceModel
from edge.reference.second_look import SecondLook, TaughtView
from edge.reference.taught import TaughtCloth
from edge.reference.trunk import Trunk
from edge.reference.watch import UsualCloth
from edge.teach.article_file import TEACH_AGAIN, ArticleFile, check_detector, open_article


@dataclass(frozen=True, slots=True, eq=False)
class OpenArticle:
    """Hold a taught article, ready for a run.

    Attributes:
        file: as published.
        model: its reference, with its levels.
    """

    file: ArticleFile
    model: ReferenceModel

    @property
    def taught(self) -> TaughtView:
        """What it was taught at."""
        manifest = self.file.manifest
        is_per_area = manifest.promise.per == "m2"
        return TaughtView(manifest.article, manifest.mm_per_px, manifest.width_px, is_per_area)

    def beside(self, contract: ModelContract, margin_mm: float) -> SecondLook:
        """Return what looks at the strips of a run beside its detector."""
        manifest = self.file.manifest
        usual = UsualCloth(manifest.article, manifest.levels, manifest.fit_distance, manifest.near)
        return SecondLook(self.model, contract, margin_mm, self.taught, usual)


def open_for(
    path: Path, contract: ModelContract, detector_digest: str, threads: int | None = None
) -> OpenArticle:
    """Open an article file and see that it goes with the detector of a run and with these features.

    Args:
        path: of the folder.
        contract, detector_digest: of the detector.
        threads: for the features of one image; None for as many as there are cores.
    Raises:
        ModelError: if it is missing, damaged, or of other features.
        ContractError: if it is newer, not valid, or was taught with another detector.
    """
    return ready(open_article(path), contract, detector_digest, threads)


def ready(
    article: ArticleFile, contract: ModelContract, detector_digest: str, threads: int | None = None
) -> OpenArticle:
    """Make an article file that is open ready for a run; see `open_for`."""
    check_detector(article, detector_digest)
    _check_names(article, contract)
    trunk = Trunk(threads)
    taught = TaughtCloth.from_arrays(article.arrays, trunk)
    return OpenArticle(article, ReferenceModel(trunk, taught, article.manifest.levels))


def verified_text(path: Path) -> str:
    """Verify an article file by itself and say what it holds.

    Raises:
        ModelError, ContractError: if it is damaged, or of other features than this version computes.
    """
    article = open_article(path)
    TaughtCloth.from_arrays(article.arrays, Trunk(1))
    _check_channels(article)
    manifest = article.manifest
    return (
        f"{path}: article '{manifest.article}', {counted(len(manifest.files), 'file')} whole, sealed\n"
        f"{manifest.promise.text()}"
    )


def _check_names(article: ArticleFile, contract: ModelContract) -> None:
    _check_channels(article)
    if set(article.manifest.score_thresholds) != set(contract.class_names):
        raise ContractError(
            f"{article.path} has thresholds for other classes than the detector has.", TEACH_AGAIN
        )


def _check_channels(article: ArticleFile) -> None:
    if set(article.manifest.levels) != set(CHANNELS):
        raise ContractError(
            f"{article.path} has levels for other channels than this version looks at.", TEACH_AGAIN
        )
