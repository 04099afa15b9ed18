"""What several threads of the server write to a user's stream at once becomes the same jobs as one after the other."""

import trio

from tests.events.openfire_sse.conftest import Read, chat
from tests.support.openfire import talk
from tests.support.openfire.server import Openfire
from tests.support.wait import until_async

THREADS = 12


async def test_a_thousand_messages_and_presences_at_once_are_jobs_that_lack_nothing(
    reading: Read, openfire: Openfire
) -> None:
    world = openfire.world
    friends = [f"friend{number}" for number in range(60)]
    world.register(*friends)
    for friend in friends:
        world.befriend("bob", friend)
        chat(openfire, "POST", f"/chat/{friend}/login")

    def tell() -> None:
        with world.lock:
            world.threads = THREADS
            sender = world.of_user["ann"]
            come, leave = friends[:30], friends[30:]
            for friend in leave:
                world.of_user[friend].show = "available"
            for number in range(1000):
                talk.message(world, sender, "bob@example.org", f'number "{number}"')
                if number % 50 == 0 and come:
                    talk.presence(world, world.of_user[come.pop()], "available", None)
                    talk.presence(world, world.of_user[leave.pop()], "offline", None)

    async with reading("ann", "bob") as reader:
        await until_async(lambda: world.of_user["bob"].show == "available", "bob is there", 60)
        await trio.to_thread.run_sync(tell)

        def friendly() -> dict[str, str]:
            told = [job for job in reader.jobs() if job["type"] == "presence" and job["from"].startswith("friend")]
            return {job["from"].partition("@")[0]: job["raw"]["presence"] for job in told}

        await until_async(lambda: (len(reader.texts()), len(friendly())) == (1000, 40), "all are jobs", 120)
        messages = [job for job in reader.jobs() if job["type"] == "message"]
        assert sorted(job["body"] for job in messages) == sorted(f'number "{number}"' for number in range(1000))
        assert len({job["id"] for job in messages} - {None}) == 1000
        came = dict.fromkeys(friends[10:30], "available")
        assert friendly() == came | dict.fromkeys(friends[40:], "unavailable")
