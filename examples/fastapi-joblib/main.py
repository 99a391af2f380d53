"""Predicts the cultivar of a wine, one of three, with the active version of the model."""

import logging
import os
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import FastAPI
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, Field, FiniteFloat
from signalbox_registry import Loader

# uvicorn configures only its own loggers; other loggers show only warnings by default.
logging.basicConfig(format="%(levelname)s:     [%(process)d] %(message)s")
logging.getLogger("signalbox_registry").setLevel(logging.INFO)

# Without `hydrate`, the loader loads model.joblib. Each worker of uvicorn has its own loader.
loader = Loader("wine", predict=lambda model, rows: model.predict_proba(rows))

Row = Annotated[list[FiniteFloat], Field(min_length=13, max_length=13)]


class Wines(BaseModel):
    rows: Annotated[list[Row], Field(min_length=1, max_length=1000)]


@asynccontextmanager
async def lifespan(app: FastAPI):
    await run_in_threadpool(loader.ready, timeout=30)
    yield
    await run_in_threadpool(loader.close)


app = FastAPI(title="Wine", lifespan=lifespan)


@app.post("/predict")
def predict(wines: Wines):
    with loader.use() as loaded:
        probabilities = loaded.model.predict_proba(wines.rows)
        return {
            "version": loaded.version,
            "pid": os.getpid(),
            "cultivars": probabilities.argmax(axis=1).tolist(),
            "probabilities": probabilities.tolist(),
        }


@app.get("/healthz")
def health():
    return loader.status()
