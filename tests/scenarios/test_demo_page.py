"""The story of the demo page, clicked through in a browser with the whole bot behind it."""

import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Locator, expect

from tests.scenarios.conftest import print_line, until_stored
from tests.scenarios.visitor import Visitor, open_visitor

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

LINES = 300


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def page_visitor(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Visitor]:
    async with open_visitor(tmp_path_factory.mktemp("demo")) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="module")
async def visitor(page_visitor: Visitor) -> Visitor:
    await page_visitor.arrive()
    return page_visitor


async def ended_well(visitor: Visitor, text: str) -> Locator:
    """Deploy, and wait for the good end."""
    message = await visitor.deploy(text)
    await visitor.sees(message, re.compile("Deployed|Rolled back"))
    return message


async def test_good_deploy_is_one_message_and_one_webhook(visitor: Visitor) -> None:
    before = await visitor.messages.count()
    visitor.world.hold()
    await visitor.side("Webhooks")
    deliveries = visitor.page.locator("#deliveries details")
    delivered = await deliveries.count()
    message = await visitor.deploy("/deploy myapp main")
    await visitor.sees(message, "Deploying myapp", re.compile("[Bb]uilding"), "build step 4/")
    await expect(visitor.button(message, "Cancel")).to_be_visible()
    visitor.world.let_go()
    await visitor.sees(message, "Deployed myapp")
    await expect(visitor.messages).to_have_count(before + 1)
    await expect(visitor.button(message, "Cancel")).to_have_count(0)

    await expect(deliveries).to_have_count(delivered + 1)
    newest = visitor.page.locator("#deliveries > li").first
    await visitor.sees(newest, "deployment.finished", "succeeded", "myapp", "signature verified")
    await message.get_by_text("View thread").click()
    await visitor.sees(visitor.replies.last, "@ada")
    await expect(visitor.replies).to_have_count(2)


async def test_running_deployment_shows_its_log_and_answers_in_its_thread_until_cancelled(
    visitor: Visitor,
) -> None:
    visitor.world.hold()
    message = await visitor.deploy("/deploy myapp main")
    await visitor.sees(message, "build step 4/")
    await visitor.world.held()
    for number in range(LINES):
        await print_line(visitor.world, f"#8 5.0 compiled file {number} of {LINES}, and its map\n")
    await until_stored(visitor.world, f"compiled file {LINES - 1}")

    # Where a page begins depends on when the lines were stored.
    await visitor.press(message, "Full log")
    await visitor.sees(visitor.modal, re.compile(r"Page (\d+) of \1\b"))
    await visitor.press(visitor.modal, "Older")
    await expect(visitor.button(visitor.modal, "Newer")).to_be_visible()
    await visitor.sees(visitor.modal, "compiled file")
    await visitor.press(visitor.modal, "Newer")
    await visitor.sees(visitor.modal, re.compile(r"Page (\d+) of \1\b"))
    await visitor.press(visitor.modal, "Post as file")
    await visitor.page.keyboard.press("Escape")
    await expect(visitor.modal).to_be_hidden()

    await visitor.open_thread(message)
    await visitor.sees(visitor.page.locator("#replies .file"), "compiled file 100 of")
    await visitor.reply("status")
    await visitor.sees(visitor.replies.last, "Deploying myapp")
    await expect(visitor.replies.last.locator("p, .context").last).to_be_in_viewport()
    # The bare word asks first, and only the person who wrote it sees the question.
    await visitor.reply("cancel")
    question = visitor.page.locator("#replies li.ephemeral").last
    await expect(question.get_by_role("button").first).to_be_in_viewport()
    await visitor.page.keyboard.press("Escape")
    await expect(visitor.page.locator("#thread-composer")).to_be_hidden()

    await visitor.press(message, "Cancel")
    await visitor.page.locator("#confirm").get_by_role("button").first.click()
    await visitor.sees(message, "Deploying myapp")
    await visitor.press(message, "Cancel")
    await visitor.confirm()
    await visitor.sees(message, "Cancelled: myapp", "the previous release")
    visitor.world.let_go()

    count = await visitor.messages.count()
    await visitor.press(message, "Retry")
    await visitor.sees(await visitor.new_message(count), "Deployed myapp")


async def test_rollback_asks_and_names_both_commits(visitor: Visitor) -> None:
    forge = visitor.simulators.forge
    await ended_well(visitor, "/deploy myapp main")
    newer = await ended_well(visitor, "/deploy myapp feature/login")
    count = await visitor.messages.count()
    await visitor.press(newer, "Roll back")
    question = visitor.page.locator("#confirm")
    for ref in ("main", "feature/login"):
        await visitor.sees(question, forge.sha("myapp", ref)[:7])
    await visitor.confirm()
    back = await visitor.new_message(count)
    await visitor.sees(back, re.compile("Deployed|Rolled back"), forge.sha("myapp")[:7])
    (live,) = visitor.simulators.dokku.live("myapp").values()
    assert live.sha == forge.sha("myapp")


@pytest.mark.parametrize(
    ("app", "cause"), [("shop", "the build failed"), ("blog", "the health checks failed")]
)
async def test_failure_shows_the_cause_and_that_the_old_release_serves(
    visitor: Visitor, app: str, cause: str
) -> None:
    before = visitor.simulators.dokku.live(app)
    await visitor.page.locator("#messages").evaluate("list => list.scrollTop = 0")
    message = await visitor.deploy(f"/deploy {app} main")
    await expect(message).to_be_in_viewport()
    await visitor.sees(message, f"Failed: {app}", cause, "the previous release")
    await expect(visitor.button(message, "Retry")).to_be_visible()
    assert visitor.simulators.dokku.live(app) == before
    await visitor.sees(visitor.page.locator("#deliveries > li").first, "failed", app)
    await visitor.press(message, "Details")
    await visitor.sees(visitor.ephemerals.last, "Only visible to you")
    await expect(visitor.ephemerals.last).to_be_in_viewport()


async def test_second_person_approves_and_a_third_may_not(visitor: Visitor) -> None:
    message = await visitor.deploy("/deploy billing main")
    await visitor.sees(message, "Awaiting approval")
    await visitor.press(message, "Approve")
    await visitor.sees(visitor.ephemerals.last, "second person")
    await visitor.act_as("alan")
    await visitor.press(message, "Approve")
    await visitor.sees(visitor.ephemerals.last, "aren't allowed")
    await visitor.act_as("grace")
    await visitor.press(message, "Approve")
    await visitor.sees(message, "Deployed billing", "grace")

    await visitor.act_as("ada")
    refused = await visitor.deploy("/deploy billing feature/login")
    await visitor.sees(refused, "Awaiting approval")
    await visitor.act_as("grace")
    await visitor.press(refused, "Reject")
    await visitor.modal.get_by_label("Reason").fill("not on a Friday")
    await visitor.modal.locator("button[type=submit]").click()
    await visitor.sees(refused, "Failed", "not on a Friday")


async def test_lock_is_taken_over_and_ended(visitor: Visitor) -> None:
    said = await visitor.deploy("/deploy lock myapp for 1h release day")
    await visitor.sees(said, "myapp is locked by", "ada", "release day")
    await visitor.act_as("grace")
    await visitor.type("/deploy myapp main")
    await visitor.sees(visitor.ephemerals.last, "locked", "release day")
    count = await visitor.messages.count()
    await visitor.press(visitor.ephemerals.last, "Take over")
    await visitor.confirm()
    await visitor.sees(await visitor.new_message(count), "grace")

    await visitor.act_as("ada")
    await visitor.page.locator("#direct").get_by_role("button", name="deploybot").click()
    await visitor.sees(visitor.messages.last, "grace", "took over your lock")
    await visitor.page.get_by_role("button", name="#deploys").click()
    await visitor.act_as("grace")
    await visitor.sees(await visitor.deploy("/deploy unlock myapp"), "unlocked")


async def test_typo_gets_an_ephemeral_reply_and_the_form_prevents_it(visitor: Visitor) -> None:
    count = await visitor.messages.count()
    await visitor.type("/deploy mypap main")
    await visitor.sees(visitor.ephemerals.last, "myapp")
    await expect(visitor.messages).to_have_count(count)

    await visitor.type("/deploy")
    modal = visitor.modal
    app = modal.locator("select[data-action=app]")
    await app.select_option("myapp")
    await visitor.sees(modal, re.compile("is live|Live now|According to Dokku"))
    ref = modal.get_by_role("combobox", name="Branch, tag or commit")
    await ref.focus()
    await visitor.sees(modal.get_by_role("listbox"), "feature/login")
    await ref.press_sequentially("logi")
    await expect(modal.get_by_role("listbox").get_by_role("option")).to_have_count(2)
    await ref.press("Enter")
    await expect(ref).to_have_value("feature/login")
    await modal.get_by_role("button", name="Deploy").click()
    await visitor.sees(await visitor.new_message(count), "feature/login", "myapp")
    await expect(modal).to_be_hidden()


async def test_message_actions_deploy_what_a_message_names_and_answer_in_the_thread(
    visitor: Visitor,
) -> None:
    await visitor.type("please ship myapp@v1.0")
    asked = visitor.page.locator("#messages li.message").last
    count = await visitor.messages.count()
    await visitor.choose(asked, "Deploy from message")
    await expect(visitor.modal.locator("select[data-action=app]")).to_have_value("myapp")
    await expect(visitor.modal.get_by_role("combobox", name="Branch, tag or commit")).to_have_value(
        "v1.0"
    )
    await visitor.modal.get_by_role("button", name="Deploy").click()
    message = await visitor.new_message(count)
    await visitor.sees(message, re.compile("Deployed myapp"))
    await visitor.choose(message, "Deployment status")
    await message.get_by_text("View thread").click()
    await visitor.sees(visitor.replies.last, "myapp")


async def test_direct_message_and_mention_are_answered(visitor: Visitor) -> None:
    await visitor.page.locator("#direct").get_by_role("button", name="deploybot").click()
    count = await visitor.messages.count()
    await visitor.type("status myapp")
    await visitor.sees(await visitor.new_message(count), "myapp")
    await visitor.page.get_by_role("button", name="#deploys").click()
    await visitor.type("@deploybot help")
    await visitor.sees(visitor.page.locator("#messages li.message").last, "@deploybot help")


async def test_home_tab_follows_two_deployments_and_its_buttons_mean_the_right_one(
    visitor: Visitor,
) -> None:
    for app in ("shop", "blog"):
        await visitor.sees(await visitor.deploy(f"/deploy {app} main"), f"Failed: {app}")
    before = await visitor.messages.count()
    await visitor.page.get_by_role("button", name="deploybot · Home").click()
    home = visitor.page.locator("#home")
    await visitor.sees(home, "Failed: shop", "Failed: blog")
    await visitor.press(home, "Full log: shop main")
    await visitor.sees(visitor.modal, "missing semicolon")
    await visitor.page.keyboard.press("Escape")
    await expect(visitor.modal).to_be_hidden()
    await visitor.press(home, "Retry: blog main")
    await visitor.page.get_by_role("button", name="#deploys").click()
    await visitor.sees(await visitor.new_message(before), "blog")
