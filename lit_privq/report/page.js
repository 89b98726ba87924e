// Sort the table of the numbers by a click on a column's head: numbers by value, names by letter.
for (const table of document.querySelectorAll("#numbers .tall table")) {
  const body = table.tBodies[0];
  const value = (row, column) => row.cells[column].firstChild.textContent.trim();
  const number = (text) => parseFloat(text.replace("−", "-"));
  const order = (a, b) => (isNaN(number(a)) || isNaN(number(b)) ? a.localeCompare(b) : number(a) - number(b));
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = [...body.rows].sort((a, b) => order(value(a, column), value(b, column)));
      body.append(...(down ? rows.reverse() : rows));
    });
  });
}
// A part that a link points at is opened: browsers do so for addresses, not all for links.
for (const link of document.querySelectorAll('a[href^="#"]')) {
  link.addEventListener("click", () => {
    const part = document.querySelector(link.getAttribute("href")).closest("details");
    if (part) part.open = true;
  });
}
// Browsers that know no ::details-content print what is open.
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((each) => (each.open = true)));
