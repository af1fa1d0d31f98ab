"""Change from one roll to the next: choose its settings and its model."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Final

from typing_extensions import Self

from edge.backends.protocol import OpenBackend
from edge.bundle.opening import demo_bundle_path, model_digest_of, open_bundle
from edge.bundle.store import bundle_path
from edge.cameras.protocol import Frame
from edge.config.edge import EdgeConfig
from edge.core.contract import ModelContract
from edge.core.detections import with_unclassified
from edge.core.errors import ConfigError, ContractError, LoomsightError, RecordError
from edge.core.events import RecordedEvent, utc_now
from edge.core.latency import StageClock
from edge.decisions.choose import check_rules
from edge.decisions.stops import Stops
from edge.inference.inspector import Inspector
from edge.inference.model import contract_of, trusted_bundle
from edge.pipeline.changes import RollPlan, RollRequest
from edge.reference.second_look import FirstLook, Looker, SecondLook
from edge.reference.statistics import Moments
from edge.reference.trunk import TRUNK_DIGEST, Trunk
from edge.roll.database import DAMAGE_ERRORS, open_for_reading
from edge.roll.following import last_following
from edge.roll.values import RollHead, RollTerms, roll_name_of
from edge.teach.article_file import ArticleFile, is_another
from edge.teach.known_articles import ArticleFiles, KnownArticle, LearntArticles, known_articles, nearest
from edge.teach.learning import DetectorUsed
from edge.teach.opening import OpenArticle, open_for, ready
from edge.teach.roll_reading import Subject
from edge.teach.values import NOT_OPENED, TAUGHT_AGAIN

logger = logging.getLogger(__name__)

MODEL_SWITCHED: Final = "bundle switched"
MODEL_NOT_OPENED: Final = "bundle not opened"

OpenModel = Callable[[EdgeConfig, ExitStack], tuple[OpenBackend, ModelContract]]


class Changeover:
    """Hold what the rolls of a run are inspected with. Entering opens the model of the first one.

    Args:
        config: of the run.
        camera: its name, for the record.
        open_model: opens the model of some settings, and checks its golden images.
        learnt: finds articles that a run has learnt by itself; None to disable.
        stops: of the run, once they are there; None if nothing is decided.
    Attributes:
        taught: what the article on the loom was taught; None if nobody taught it.
        knows: whether that is an article file that a run has learnt by itself.
    """

    def __init__(
        self,
        config: EdgeConfig,
        camera: str,
        open_model: OpenModel,
        learnt: LearntArticles | None = None,
    ) -> None:
        self._camera = camera
        self._open_model = open_model
        self._learnt = learnt
        self._opened = ExitStack()
        self._model_path = _model_path(config)
        self.config = config
        self.reference: Looker | None = None
        self._known: tuple[KnownArticle, ...] = ()
        self._files = ArticleFiles()
        self.taught: ArticleFile | None = None
        self.knows = False
        self.stops: Stops | None = None

    def __enter__(self) -> Self:
        self.backend, self.contract = self._open_model(self.config, self._opened)
        self._note_model(self._model_path)
        self._open_reference(knew=self._learnt is not None and self._learnt.knew_first)
        self.inspector = self._inspector_of(StageClock())
        return self

    def __exit__(self, *error: object) -> None:
        self._opened.close()

    @property
    def model_path(self) -> Path:
        """The bundle, or the ONNX file, that is in use."""
        return self._model_path

    def head(self) -> RollHead:
        """Return what the record is to know of the roll that passes."""
        config = self.config
        return RollHead(
            self._camera,
            self._digest,
            config.public(),
            config.roll,
            config.article,
            config.cloth_width_mm,
            config.grade_limits,
        )

    def terms(self) -> RollTerms:
        """Return how the first roll is called and graded."""
        return self.head().terms(self.config.roll)

    def check(self, request: RollRequest) -> None:
        """See that a request can be fulfilled, as far as that can be told without doing it. In any thread.

        Raises:
            LoomsightError: why it cannot.
        """
        config = self._config_for(request)
        if request.name is not None and has_roll(config.roll_record, request.name):
            raise ConfigError(f"The record has a roll '{request.name}' already.", "Name another one.")
        path = _model_path(config)
        as_published = (
            self._as_published if path == self._model_path else contract_of(trusted_bundle(path, config))
        )
        contract = as_published.with_thresholds(config.score_thresholds)
        if config.reference is not None:
            digest = self._digest if path == self._model_path else model_digest_of(open_bundle(path))
            article = open_for(config.reference, as_published, digest)
            seen = self.reference.seen if self.reference is not None else None
            if seen is not None and path == self._model_path:
                article.taught.check(seen)
        mode, stops = config.stop.mode, self.stops
        if stops is None and mode != "off":
            raise ConfigError(
                f"Article '{config.article}' has stop.mode {mode}, and this run decides nothing.",
                f"Start edge-run again with --article '{config.article}'.",
            )
        if mode == "on" and (stops is None or stops.delivery is None):
            raise ConfigError(
                f"Article '{config.article}' may stop the machine, and this run cannot reach it.",
                f"Start edge-run again with --article '{config.article}'.",
            )
        check_rules(config.stop, with_unclassified(contract.class_names))

    def next_roll(self, request: RollRequest) -> RollPlan:
        """Go over to the next roll; a model of its article's own is opened, and the one before closed.

        Raises:
            LoomsightError: if that model cannot be vouched for.
        """
        before, self.config = self.config, self._config_for(request)
        config = self.config.model_copy(update={"roll": request.name or roll_name_of(utc_now())})
        self.config = config
        is_other = config.article != before.article
        if not is_other:
            return self._plan_of_switched_model() or self._plan_with_same_article()
        inspector = self._inspector_for(config, knew=bool(request.knew))
        return RollPlan(
            self.head(),
            article_changes=True,
            inspector=inspector,
            reference=self.reference,
            class_names=with_unclassified(self.contract.class_names),
            selvedge_margin_mm=config.selvedge_margin_mm,
            stop=config.stop,
            knows=self.knows,
        )

    def _plan_of_switched_model(self) -> RollPlan | None:
        """Go over to the bundle that the store has as current now; None if that is the one in use.

        One that is refused leaves the one in use as it is, with an event that says why.
        """
        config = self.config
        try:
            path = _model_path(config)
            if path == self._model_path:
                return None
            self.check(RollRequest("operator", article=config.article))
            self._check_prepares_like(path)
            inspector = self._inspector_for(config, knew=self.knows)
        except LoomsightError as error:
            logger.warning("the bundle before stays in use: %s", error)
            event = RecordedEvent(MODEL_NOT_OPENED, f"the bundle before stays in use: {error}")
            return RollPlan(self.head(), knows=self.knows, events=(event,))
        return RollPlan(
            self.head(),
            inspector=inspector,
            reference=self.reference,
            class_names=with_unclassified(self.contract.class_names),
            selvedge_margin_mm=config.selvedge_margin_mm,
            knows=self.knows,
            events=(RecordedEvent(MODEL_SWITCHED, path.name, data={"bundle": path.name}),),
        )

    def _check_prepares_like(self, path: Path) -> None:
        """Refuse, for a roll that follows on, a bundle that cuts or enhances frames in another way.

        Raises:
            ContractError: if it does.
        """
        if not contract_of(open_bundle(path)).prepares_like(self._as_published):
            raise ContractError(
                f"The bundle {path} prepares images in another way than the one in use.",
                "Start edge-run again to use it.",
            )

    def _plan_with_same_article(self) -> RollPlan:
        """Go on as before, but for an article file that was taught again meanwhile: it is opened again.

        One that is refused leaves what is in use as it is, with an event that says why.
        """
        before = self.taught
        try:
            if before is None or not is_another(before):
                return RollPlan(self.head(), knows=self.knows)
            article = open_for(before.path, self._as_published, self._digest, self.config.threads)
        except LoomsightError as error:
            logger.warning("what was taught before stays in use: %s", error)
            event = RecordedEvent(NOT_OPENED, f"what was taught before stays in use: {error}")
            return RollPlan(self.head(), knows=self.knows, events=(event,))
        self._look_with(article)
        self.inspector = self._inspector_of(self.inspector.clock)
        manifest = article.file.manifest
        detail = f"article '{manifest.article}': {manifest.promise.text()}"
        return RollPlan(
            self.head(),
            inspector=self.inspector,
            reference=self.reference,
            knows=self.knows,
            events=(RecordedEvent(TAUGHT_AGAIN, detail),),
        )

    def _config_for(self, request: RollRequest) -> EdgeConfig:
        article = request.article if request.article is not None else self.config.article
        return self.config.for_roll(request.name, article)

    def _inspector_for(self, config: EdgeConfig, *, knew: bool) -> Inspector:
        """Return an inspector with the model and thresholds of some settings."""
        path = _model_path(config)
        if path != self._model_path:
            logger.info("article '%s' has another model: it is opened", config.article)
            opened = ExitStack()
            try:
                backend, contract = self._open_model(config, opened)
            except BaseException:
                opened.close()
                raise
            self._opened.close()
            self._opened, self.backend, self.contract = opened, backend, contract
            self._note_model(path)
        else:
            self.contract = self._as_published.with_thresholds(config.score_thresholds)
        self._open_reference(knew=knew)
        self.inspector = self._inspector_of(self.inspector.clock)
        return self.inspector

    def _open_reference(self, *, knew: bool) -> None:
        """Open what the article was taught, and take its thresholds where the settings name none."""
        article = self._opened_article(knew=knew)
        self._look_around()
        if article is None:
            self.reference, self.taught = self._first_look(), None
            return
        self._look_with(article)

    def _opened_article(self, *, knew: bool) -> OpenArticle | None:
        """Open the article file that the settings name, or that a run has learnt; None if there is none.

        Args:
            knew: of a replay: whether the recorded run used one that was learnt.
        """
        config = self.config
        if config.reference is not None:
            return open_for(config.reference, self._as_published, self._digest, config.threads)
        learnt, self.knows = self._learnt, False
        path = learnt.find(config.article, knew=knew) if learnt is not None else None
        if path is None:
            return None
        try:
            article = open_for(path, self._as_published, self._digest, config.threads)
        except LoomsightError as error:
            logger.warning("article '%s' is as if nobody had taught it: %s", config.article, error)
            return None
        self.knows = True
        return article

    def _look_with(self, article: OpenArticle) -> None:
        config = self.config
        thresholds = {**article.file.manifest.score_thresholds, **config.score_thresholds}
        self.contract = self._as_published.with_thresholds(thresholds)
        self.reference = article.beside(self._as_published, config.selvedge_margin_mm)
        self.taught = article.file
        promise = article.file.manifest.promise.text()
        logger.info("article '%s': %s", article.file.manifest.article, promise)

    def use(self, article: ArticleFile) -> None:
        """Inspect with an article that was learnt from here on.

        Raises:
            LoomsightError: if it does not go with the detector.
        """
        self._look_with(ready(article, self._as_published, self._digest, self.config.threads))
        self._look_around()
        self.inspector = self._inspector_of(self.inspector.clock)

    def recognise(self, own: Moments) -> str | None:
        """Name the article, other than that of the roll, that cloth looks like; None if it is none."""
        taught = self.taught.manifest.article if self.taught is not None else None
        others = [one for one in self._known if one.name != taught]
        return nearest(others, own, self.config.article)

    def _first_look(self) -> FirstLook | None:
        """Return what looks at cloth that nobody taught; None if there is nothing to be recognised."""
        if not any(one.name != self.config.article for one in self._known):
            return None
        trunk = Trunk(self.config.threads)
        return FirstLook(trunk, self._as_published, self.config.selvedge_margin_mm)

    def _look_around(self) -> None:
        """Open what was taught of other articles, to recognise their cloth."""
        found: dict[str, ArticleFile] = {}
        for path in self._learnt.paths() if self._learnt is not None else ():
            article = self._files.open(path)
            if article is not None and path == self._learnt_path(article.manifest.article):
                found[article.manifest.article] = article
        for name, table in self.config.articles.items():
            article = self._files.open(table.reference) if table.reference is not None else None
            if article is not None:
                found[name] = article
        self._known = known_articles(found, self._digest, TRUNK_DIGEST, self.config.mm_per_px)

    def _learnt_path(self, name: str) -> Path | None:
        return self._learnt.path_of(name) if self._learnt is not None else None

    def misfit(self, frame: Frame) -> ContractError | None:
        """Return why what a run has learnt of the article does not go with this camera; None if it does."""
        if not self.knows or not isinstance(self.reference, SecondLook):
            return None
        return self.reference.misfit(frame)

    def forget(self) -> None:
        """Inspect as if nobody had taught the article."""
        self.knows, self.taught, self.reference = False, None, self._first_look()
        self.contract = self._as_published.with_thresholds(self.config.score_thresholds)
        self.inspector = self._inspector_of(self.inspector.clock)

    def subject(self) -> Subject:
        """Return what a run is to learn: the article on the loom."""
        config, learnt = self.config, self._learnt
        if learnt is None:
            raise ValueError("this run learns nothing")
        roll = config.roll or learnt.roll_name()
        called = config.article or roll
        own = self._as_published.with_thresholds(config.score_thresholds)
        return Subject(
            article=config.article,
            called=called,
            path=learnt.path_of(called) if config.article else learnt.path_of_roll(roll),
            contract=self._as_published,
            detector=DetectorUsed(self._digest, own.score_thresholds),
            margin_mm=config.selvedge_margin_mm,
            is_taught=self.taught is not None,
            may_replace=not learnt.is_replay,
        )

    def _inspector_of(self, clock: StageClock) -> Inspector:
        config = self.config
        near_miss = config.near_miss if config.save_pictures else 0.0
        return Inspector(self.backend, self.contract, config.batch_tiles, clock, near_miss=near_miss)

    def _note_model(self, path: Path) -> None:
        bundle = open_bundle(path)
        self._model_path, self._digest = path, model_digest_of(bundle)
        self._as_published = contract_of(bundle)


def as_left(config: EdgeConfig) -> EdgeConfig:
    """Return the settings of the roll that is on the loom: rolls may have followed on the one they name."""
    following = last_following(config.roll_record, config.roll)
    if following is None:
        return config
    logger.debug("roll '%s' was followed by '%s': that one goes on", config.roll, following.name)
    return config.for_roll(following.name, following.article or config.article)


def has_roll(record: Path | None, name: str) -> bool:
    """Tell whether a record has a roll of this name; a record that cannot be read now has none."""
    if record is None or not record.is_file():
        return False
    try:
        with closing(open_for_reading(record)) as db:
            return db.execute("SELECT 1 FROM rolls WHERE name = ?", (name,)).fetchone() is not None
    except (RecordError, *DAMAGE_ERRORS) as error:
        logger.debug("names of rolls cannot be read now: %s", error)
        return False


def _model_path(config: EdgeConfig) -> Path:
    return bundle_path(config.model or demo_bundle_path())
