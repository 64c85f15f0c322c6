# The bot, for Docker, Compose and Dokku. docs/hosting.md explains how to run it.
# git is the only program that it starts; the driver of PostgreSQL is in it.

FROM python:3.13-slim-bookworm AS build
WORKDIR /src
RUN pip install --no-cache-dir uv==0.13.9
ENV UV_PROJECT_ENVIRONMENT=/opt/deploybot UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never
COPY pyproject.toml uv.lock README.md LICENSE ./
RUN uv sync --locked --no-dev --extra postgres --no-install-project
COPY bot bot
RUN uv sync --locked --no-dev --extra postgres --no-editable

FROM python:3.13-slim-bookworm
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates git \
 && rm -rf /var/lib/apt/lists/*
# The number is the owner that `dokku storage:ensure-directory` gives a volume.
RUN useradd --uid 32767 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin deploybot \
 && install -d -o deploybot -g deploybot /data
COPY --from=build /opt/deploybot /opt/deploybot
# Python needs no writable root: everything is compiled, and only /data and /tmp are written to.
ENV PATH=/opt/deploybot/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
ENV DATABASE_URL=sqlite:////data/deploybot.db
USER 32767:32767
WORKDIR /data
# Whether the process is up. Not /readyz: an outage of Slack must not restart a bot that deploys.
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 \
  CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f\"http://127.0.0.1:{os.environ.get('PORT') or 8080}/healthz\", timeout=4)"]
# No EXPOSE: Dokku would publish that port; without it, it sets PORT, which the bot listens on.
# No ENTRYPOINT: Dokku starts the commands of the Procfile.
CMD ["deploybot", "run"]
