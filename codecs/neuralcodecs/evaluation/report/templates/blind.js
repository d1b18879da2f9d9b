// The A/B/X test: X is drawn anew for each trial; the score comes with the chance of guessing as well.
const chance = (right, trials) => {
  let total = 0;
  let ways = 1; // trials choose k, from k = trials down
  for (let k = trials; k >= right; k--) {
    total += ways;
    ways = (ways * k) / (trials - k + 1);
  }
  return total / 2 ** trials;
};

if (player) {
  const blind = one(".blind", player);
  const [first, second] = [one(".a", blind), one(".b", blind)];
  const state = { right: 0, trials: 0, x: "A" };
  const draw = () => (state.x = crypto.getRandomValues(new Uint8Array(1))[0] & 1 ? "A" : "B");
  const say = (verdict = "") => {
    const { right, trials } = state;
    const p = chance(right, trials);
    const figures = `${right} of ${trials} right, p = ${p < 0.001 ? "< 0.001" : p.toFixed(3)} (chance of so many by guessing)`;
    one(".score", blind).textContent = trials ? `${verdict} ${figures}`.trim() : "No trials yet.";
  };
  const reset = () => {
    Object.assign(state, { right: 0, trials: 0 });
    draw();
    say();
  };
  const hear = (letter) => {
    const picked = letter === "X" ? state.x : letter;
    choose(+(picked === "A" ? first : second).value, true);
    all("[data-hear]", blind).forEach((b) => b.setAttribute("aria-pressed", b.dataset.hear === letter));
    if (!deck.playing) start();
  };
  const vote = (letter) => {
    if (first.value === second.value) {
      one(".score", blind).textContent = "A and B are the same take: choose two.";
      return;
    }
    state.trials++;
    state.right += letter === state.x;
    const verdict = letter === state.x ? "Right." : `No, it was ${state.x}.`;
    draw();
    say(verdict);
    all("[data-hear]", blind).forEach((b) => b.setAttribute("aria-pressed", false));
    if (deck.playing) {
      stop(); // the next X starts afresh, so that the switch itself tells nothing
      show();
    }
  };
  const offer = () => {
    for (const [select, index] of [[first, 0], [second, Math.min(1, deck.takes.length - 1)]]) {
      fill(select, deck.takes.map(label));
      select.value = index;
    }
    reset();
  };
  player.addEventListener("file", offer);
  for (const select of [first, second]) select.addEventListener("change", reset);
  for (const button of all("[data-hear]", blind)) button.addEventListener("click", () => hear(button.dataset.hear));
  for (const button of all("[data-vote]", blind)) button.addEventListener("click", () => vote(button.dataset.vote));
  one(".reset", blind).addEventListener("click", reset);
  document.addEventListener("keydown", (event) => {
    const letter = event.key.toUpperCase();
    if (!blind.open || typing(event.target) || event.ctrlKey || event.metaKey || event.altKey || !"ABX".includes(letter)) return;
    hear(letter);
  });
  openFile(0);
}
