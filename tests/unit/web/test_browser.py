"""The browser of the tests clicks as a person does."""

from __future__ import annotations

from urllib.parse import quote

from browser import tab

MOVING = """
<button id=b style="position: absolute; left: 0; top: 0">press</button><p id=told></p>
<script>
  let moves = 2;
  document.addEventListener('mousedown', () => { if (moves-- > 0) b.style.top = (3 - moves) * 90 + 'px' }, true);
  b.onclick = () => told.textContent += 'pressed ';
</script>
"""


def test_a_click_that_the_page_moved_away_from_is_made_once_more() -> None:
    with tab() as page:
        page.open(f"data:text/html,{quote(MOVING)}")
        page.click("#b")
        assert page.text("#told") == "pressed"
        page.click("#b")
        assert page.text("#told") == "pressed pressed"


def test_a_click_on_a_link_is_made_once() -> None:
    with tab() as page:
        page.open("data:text/html," + quote('<a id=a href="javascript:void(document.title += 1)">go</a>'))
        page.click("#a")
        page.wait("document.title === '1'")
