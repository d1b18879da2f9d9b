// Sorting: numbers by value, names by name; a dash is last either way.
const collator = new Intl.Collator(undefined, { numeric: true });
for (const table of all("table.sortable")) {
  const heads = all("thead th", table);
  heads.forEach((head, column) => {
    one("button", head).addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of heads) other.setAttribute("aria-sort", "none");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const sign = down ? -1 : 1;
      const compare = (one_, two) => {
        const [a, b] = [one_.cells[column], two.cells[column]];
        const [empty, other] = [a.textContent === "–", b.textContent === "–"];
        if (empty || other) return empty - other;
        const named = a.dataset.value === undefined || b.dataset.value === undefined;
        return sign * (named ? collator.compare(a.textContent, b.textContent) : a.dataset.value - b.dataset.value);
      };
      table.tBodies[0].append(...[...table.tBodies[0].rows].sort(compare));
    });
  });
}
