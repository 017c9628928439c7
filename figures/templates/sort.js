// A button (so Tab and Enter reach it) on each heading of a table of claims sorts its rows, again the other way.
// Cells that begin with a number come first, by its value; the others, and equal ones, by their text.
const number = (text) => parseFloat(text.replace("\u2212", "-"));
const compare = (a, b) => {
  const [x, y] = [number(a), number(b)];
  return isNaN(x) - isNaN(y) || x - y || a.localeCompare(b, "en", { numeric: true });
};
for (const table of document.querySelectorAll("table.claims")) {
  const body = table.tBodies[0];
  table.querySelectorAll("th").forEach((heading, column) => {
    const button = document.createElement("button");
    button.append(...heading.childNodes);
    heading.append(button);
    const text = (row) => row.cells[column].textContent.trim();
    const sort = () => {
      const down = heading.getAttribute("aria-sort") === "ascending";
      table.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = [...body.rows].sort((a, b) => compare(text(a), text(b)));
      body.append(...(down ? rows.reverse() : rows));
    };
    button.addEventListener("click", sort);
  });
}
