"use strict";
// The gallery of report.html: draws the test images, and sorts and filters them.
{
  const data = JSON.parse(document.getElementById("gallery-data").textContent);
  const { classes, models, generator, images } = data;
  const control = (name) => document.getElementById("gallery-" + name);
  const table = control("table");
  const body = table.tBodies[0];
  const natural = new Intl.Collator("en", { numeric: true }).compare;

  const isWrong = (image, answer) => answer[0] !== image.label;
  const percent = (share) => Math.round(100 * share) + " %";

  // -- what is chosen ------------------------------------------------------------------------

  let order = "wrong";
  let reversed = false;

  /** Indices of the models that order and filters are about. */
  function chosenModels() {
    const value = models.length > 1 ? control("model").value : "0";
    return value === "" ? models.map((_, i) => i) : [Number(value)];
  }

  // An order compares two images, each with what the chosen models said that have tested it.
  const mistakes = (image, said) =>
    said.reduce((sum, answer) => sum + (isWrong(image, answer) ? answer[1] : 0), 0);
  const first = (answer) => answer[0];
  const surety = (said) => said.reduce((sum, answer) => sum + answer[1], 0) / said.length;
  const byMistakes = (a, b) =>
    mistakes(b.image, b.said) - mistakes(a.image, a.said) || surety(a.said) - surety(b.said);
  const bySubject = (a, b) =>
    natural(a.image.subject, b.image.subject) || natural(a.image.sequence, b.image.sequence) ||
    natural(a.image.frame, b.image.frame);
  const byPrediction = (a, b) => natural(a.said.map(first).join(), b.said.map(first).join());
  const ORDERS = {
    wrong: byMistakes,
    probability: (a, b) => surety(b.said) - surety(a.said),
    label: (a, b) => a.image.label - b.image.label || byMistakes(a, b),
    predicted: (a, b) => byPrediction(a, b) || byMistakes(a, b),
    subject: bySubject,
    fold: (a, b) => a.image.fold - b.image.fold || bySubject(a, b),
  };
  const DESCENDING = ["wrong", "probability"];

  // -- drawing -------------------------------------------------------------------------------

  function element(name, className, text) {
    const made = document.createElement(name);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  }

  /** One rule for each sheet: a browser then decodes it once, whatever shows a part of it. */
  function addSheets() {
    const rules = document.head.appendChild(element("style")).sheet;
    data.sheets.input.forEach((input, i) => {
      rules.insertRule(`.input.sheet${i} { background-image: url("${input}") }`);
      if (generator === null) return;
      const generated = data.sheets.generated[i];
      rules.insertRule(`.generated.sheet${i} { background-image: url("${generated}") }`);
      rules.insertRule(
        `.difference.sheet${i} { background-image: url("${input}"), url("${generated}") }`
      );
    });
  }

  function face(kind, place) {
    const { across, face: size } = data;
    const made = element("span", `face ${kind} sheet${Math.floor(place / across ** 2)}`);
    const [row, column] = [Math.floor(place / across) % across, place % across];
    made.style.backgroundPosition = `${-size * column}px ${-size * row}px`;
    return made;
  }

  function facesCell(image, place) {
    const cell = element("td", "faces");
    const kinds = ["input"];
    if (generator !== null && image.said[generator]) kinds.push("generated", "difference");
    cell.append(...kinds.map((kind) => face(kind, place)));
    cell.title = image.image;
    return cell;
  }

  function textCell(text, small) {
    const cell = element("td");
    cell.append(element("b", "", text));
    if (small) cell.append(element("small", "soft", small));
    return cell;
  }

  const subjectCell = (image) =>
    textCell(image.subject, [image.sequence, image.frame].filter(String).join(" · "));

  function classCell(image, answer) {
    const cell = textCell(classes[answer[0]]);
    cell.className = isWrong(image, answer) ? "class wrong" : "class";
    return cell;
  }

  /** Give a cell its probability as a bar, and in words; if it is wrong, the true class's, too. */
  function withProbability(cell, image, answer) {
    const [, probability, ofTruth] = answer;
    const wrong = isWrong(image, answer);
    const words = element("small", "", percent(probability));
    if (wrong) words.append(element("span", "truth", `, true ${percent(ofTruth)}`));
    cell.append(words);
    cell.classList.add("probability");
    cell.classList.toggle("wrong", wrong);
    cell.style.setProperty("--share", `${100 * probability}%`);
    return cell;
  }

  const share = (part) => `minmax(0, ${part}fr)`;
  const oneModel = [
    {
      title: "Predicted", order: "predicted", width: share(1),
      cell: (image) => classCell(image, image.said[0]),
    },
    {
      title: "Probability", order: "probability", width: share(1.6),
      cell: (image) => withProbability(element("td"), image, image.said[0]),
    },
  ];
  const eachModel = models.map((name, i) => ({
    title: name, order: "wrong", model: i, width: share(1.3),
    cell: (image) =>
      image.said[i]
        ? withProbability(classCell(image, image.said[i]), image, image.said[i])
        : textCell("–"),
  }));
  const COLUMNS = [
    {
      title: generator === null ? "Image" : "Image, reference", width: "var(--faces)",
      cell: facesCell,
    },
    {
      title: "True class", order: "label", width: share(1),
      cell: (image) => textCell(classes[image.label]),
    },
    ...(models.length === 1 ? oneModel : eachModel),
    { title: "Subject", order: "subject", width: share(1.2), cell: subjectCell },
    { title: "Fold", order: "fold", width: "3em", cell: (image) => textCell(image.fold) },
  ];
  table.style.setProperty("--columns", COLUMNS.map((column) => column.width).join(" "));
  table.classList.toggle("with-reference", generator !== null);
  table.classList.toggle("several", models.length > 1);

  function drawHeader() {
    for (const column of COLUMNS) {
      const cell = element("th");
      cell.scope = "col";
      cell.setAttribute("role", "columnheader");
      if (column.order) {
        const button = element("button", "", column.title);
        button.type = "button";
        button.addEventListener("click", () => sortBy(column));
        cell.append(button);
      } else {
        cell.textContent = column.title;
      }
      column.header = cell;
      table.tHead.rows[0].append(cell);
    }
  }

  function drawRow(image, place) {
    const row = element("tr");
    row.setAttribute("role", "row");
    for (const column of COLUMNS) {
      const cell = column.cell(image, place);
      cell.setAttribute("role", "cell");
      cell.dataset.title = column.title;
      row.append(cell);
    }
    return row;
  }

  // -- sorting and filtering -----------------------------------------------------------------

  function sortBy(column) {
    const model = column.model === undefined ? undefined : String(column.model);
    const same =
      order === column.order && (model === undefined || control("model").value === model);
    reversed = same && !reversed;
    order = column.order;
    if (model !== undefined) control("model").value = model;
    control("order").value = order;
    show();
  }

  function show() {
    const chosen = chosenModels();
    const [label, predicted] = [control("label").value, control("predicted").value];
    const wrongOnly = control("wrong").checked;
    const shown = [];
    let wrong = 0;
    rows.forEach(({ image, row }) => {
      const said = chosen.map((i) => image.said[i]).filter((answer) => answer !== null);
      if (!said.length) return;
      if (label !== "" && image.label !== Number(label)) return;
      if (predicted !== "" && !said.some((answer) => answer[0] === Number(predicted))) return;
      const failed = said.some((answer) => isWrong(image, answer));
      if (wrongOnly && !failed) return;
      wrong += failed;
      shown.push({ image, row, said });
    });
    shown.sort(ORDERS[order]);
    if (reversed) shown.reverse();
    body.replaceChildren(...shown.map(({ row }) => row));

    const by = chosen.length > 1 ? " by at least one model" : "";
    control("count").textContent =
      `${shown.length} of ${images.length} images, ${wrong} of them wrong${by}`;
    control("reverse").setAttribute("aria-pressed", reversed);
    const downwards = DESCENDING.includes(order) !== reversed;
    for (const column of COLUMNS) {
      const sorted = column.order === order &&
        (column.model === undefined || (chosen.length === 1 && chosen[0] === column.model));
      if (sorted) column.header.setAttribute("aria-sort", downwards ? "descending" : "ascending");
      else column.header.removeAttribute("aria-sort");
    }
  }

  addSheets();
  drawHeader();
  const rows = images.map((image, place) => ({ image, row: drawRow(image, place) }));
  for (const name of ["model", "label", "predicted", "wrong"]) {
    control(name)?.addEventListener("change", show);
  }
  control("order").addEventListener("change", () => {
    order = control("order").value;
    reversed = false;
    show();
  });
  control("reverse").addEventListener("click", () => {
    reversed = !reversed;
    show();
  });
  control("difference")?.addEventListener("change", () => {
    table.classList.toggle("with-difference", control("difference").checked);
  });
  control("live").hidden = false;
  show();
}
