/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * fenwick-run [VIDEO] [OUTPUT]: a video through fenwickfilter into a lossless file, with progress,
 * and at the end what it took and what it changed.
 *
 *   uridecodebin ! videoconvert ! FILTER ! videoconvert ! avenc_ffv1 ! matroskamux ! filesink
 *
 * The part behind the decoder is built when the decoder has said what the video is.
 */
#include <errno.h>
#include <glib-unix.h>
#include <glib/gstdio.h>
#include <locale.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "measure.h"
#include "picture.h"

/* What both fenwickfilter and FFV1 take. */
#define FORMATS                                                                                    \
  "{ I420, Y42B, Y444, GRAY8, BGRx, BGRA, I420_10LE, I422_10LE, Y444_10LE, GRAY16_LE }"
/* What Matroska takes without an encoder. */
#define PLAIN_FORMATS "{ I420, GRAY8, RGB, BGR }"

typedef struct
{
  gchar *weights, *preset, *device, *precision;
  gchar *filter;      /* launch line in place of fenwickfilter */
  gint frames;        /* stop after this many; 0: all */
  gint width, height; /* of the scene that stands in for a video */
  const gchar *video; /* path, URI or NULL */
  const gchar *output;
} Options;

typedef struct
{
  Options options;
  gchar *partial; /* where the file grows until it is whole */
  GstElement *pipeline;
  GstElement *filter;
  GMainLoop *loop;
  Measure *measure;
  gboolean attached;  /* a video stream has been found */
  gint width, height; /* of the file */
  guint decoded;      /* frames */
  GstClockTime next_pts, frame_duration;
  gchar *failure; /* the first one: later ones follow from it */
  gboolean interrupted;
  gchar *device; /* where the filter computed */
} App;

static void fail (App *app, const gchar *format, ...) G_GNUC_PRINTF (2, 3);

/* Main thread only. */
static void
fail (App *app, const gchar *format, ...)
{
  va_list args;

  va_start (args, format);
  if (!app->failure)
    app->failure = g_strdelimit (g_strdup_vprintf (format, args), "\r\n", ' ');
  va_end (args);
  if (app->loop)
    g_main_loop_quit (app->loop);
}

/* ---- building the pipeline ---- */

static GstElement *
parse_bin (const gchar *description, const gchar *name, GError **error)
{
  GstElement *bin = gst_parse_bin_from_description_full (
      description, TRUE, NULL, GST_PARSE_FLAG_FATAL_ERRORS, error);

  if (bin)
    gst_object_set_name (GST_OBJECT (bin), name);
  return bin;
}

/* The filter inside a bin with the pads "sink" and "src". */
static GstElement *
make_filter (const Options *options, GError **error)
{
  GstElement *bin =
      parse_bin (options->filter ? options->filter : "fenwickfilter name=fenwick", "filter", error);
  GstElement *fenwick = bin ? gst_bin_get_by_name (GST_BIN (bin), "fenwick") : NULL;
  const gchar *const settings[][2] = {
    { "weights", options->weights },
    { "preset", options->preset },
    { "device", options->device },
    { "precision", options->precision },
  };

  if (fenwick) {
    for (guint i = 0; i < G_N_ELEMENTS (settings); i++)
      if (settings[i][1])
        gst_util_set_object_arg (G_OBJECT (fenwick), settings[i][0], settings[i][1]);
    gst_object_unref (fenwick);
  }
  return bin;
}

/*
 * libavcodec's FFV1 cuts a frame into slices, and fails or loses what it was given where a slice
 * would have no pixels. So frames of a few pixels are written as plain video.
 */
static gboolean
is_tiny (const App *app)
{
  return MIN (app->width, app->height) < 4;
}

/* From decoded video to what the filter takes. */
static gchar *
describe_input (const App *app, gboolean interlaced)
{
  const gchar *formats = is_tiny (app) ? PLAIN_FORMATS : FORMATS;

  return g_strdup_printf ("queue max-size-buffers=4 max-size-bytes=0 max-size-time=0 ! %s"
                          "videoconvert dither=none ! video/x-raw,format=%s ! "
                          "queue max-size-buffers=4 max-size-bytes=0 max-size-time=0",
      interlaced ? "deinterlace ! " : "", formats);
}

/* From the filter to the file, whose frames have one size from the first to the last. */
static gchar *
describe_output (const App *app)
{
  gboolean small = app->width <= 352 && app->height <= 288;

  return g_strdup_printf (
      "queue max-size-buffers=4 max-size-bytes=0 max-size-time=0 ! "
      "videoconvert dither=none ! videoscale ! video/x-raw,width=%d,height=%d,format=%s ! %s ! "
      "matroskamux ! filesink name=file",
      app->width, app->height, is_tiny (app) ? PLAIN_FORMATS : FORMATS,
      is_tiny (app) ? "identity"
          : small   ? "avenc_ffv1 slices=1"
                    : "avenc_ffv1");
}

static gboolean
add_and_link (App *app, GstPad *decoded, GstElement *part[3])
{
  GstPad *sink = gst_element_get_static_pad (part[0], "sink");
  gboolean ok;

  for (guint i = 0; i < 3; i++)
    gst_bin_add (GST_BIN (app->pipeline), part[i]);
  ok = gst_element_link_many (part[0], part[1], part[2], NULL);
  /* From the sink upwards, so that no buffer meets an element that is not ready for it. */
  for (gint i = 2; i >= 0; i--)
    ok = ok && gst_element_sync_state_with_parent (part[i]);
  ok = ok && gst_pad_link (decoded, sink) == GST_PAD_LINK_OK;
  gst_object_unref (sink);
  return ok;
}

/* Matroska drops frames that have no timestamp: they get one frame after the other. */
static void
stamp (App *app, GstPadProbeInfo *info)
{
  GstBuffer *buffer = GST_PAD_PROBE_INFO_BUFFER (info);

  if (!GST_BUFFER_PTS_IS_VALID (buffer)) {
    buffer = gst_buffer_make_writable (buffer);
    GST_BUFFER_PTS (buffer) = app->next_pts;
    GST_PAD_PROBE_INFO_DATA (info) = buffer;
  }
  app->next_pts = GST_BUFFER_PTS (buffer) + app->frame_duration;
}

/* Every decoded frame. After --frames of them everything behind the pad gets the end at once. */
static GstPadProbeReturn
on_frame (GstPad *pad, GstPadProbeInfo *info, gpointer user_data)
{
  App *app = user_data;

  app->decoded++;
  if (app->options.frames == 0 || app->decoded <= (guint) app->options.frames) {
    stamp (app, info);
    return GST_PAD_PROBE_OK;
  }
  if (app->decoded == (guint) app->options.frames + 1) {
    GstPad *peer = gst_pad_get_peer (pad);

    gst_pad_send_event (peer, gst_event_new_eos ());
    gst_object_unref (peer);
  }
  return GST_PAD_PROBE_DROP;
}

/* Builds everything behind the decoder. May run on the decoder's thread: failures go to the bus. */
static void
attach (App *app, GstPad *decoded, const GstVideoInfo *video)
{
  GstElement *part[3] = { NULL, app->filter, NULL }, *file;
  GError *error = NULL;
  gchar *input, *output;

  app->attached = TRUE;
  app->frame_duration = GST_SECOND / 25;
  if (video->fps_n > 0)
    app->frame_duration = gst_util_uint64_scale (GST_SECOND, video->fps_d, video->fps_n);
  gst_pad_add_probe (decoded, GST_PAD_PROBE_TYPE_BUFFER, on_frame, app, NULL);
  app->width = video->width;
  app->height = video->height;
  input = describe_input (app, GST_VIDEO_INFO_IS_INTERLACED (video));
  output = describe_output (app);
  if ((part[0] = parse_bin (input, "input", &error)))
    part[2] = parse_bin (output, "output", &error);
  g_free (input);
  g_free (output);
  if (!part[2]) {
    GST_ELEMENT_ERROR (app->pipeline, CORE, MISSING_PLUGIN, ("%s", error->message), (NULL));
    g_error_free (error);
    gst_clear_object (&part[0]);
    return;
  }
  file = gst_bin_get_by_name (GST_BIN (part[2]), "file");
  g_object_set (file, "location", app->partial, NULL);
  gst_object_unref (file);
  if (!add_and_link (app, decoded, part))
    GST_ELEMENT_ERROR (
        app->pipeline, CORE, PAD, ("cannot connect the decoder with the filter"), (NULL));
}

static void
on_decoded_pad (GstElement *source, GstPad *pad, gpointer user_data)
{
  App *app = user_data;
  GstCaps *caps = gst_pad_get_current_caps (pad);
  GstVideoInfo info;

  if (!app->attached && caps && gst_video_info_from_caps (&info, caps))
    attach (app, pad, &info);
  gst_clear_caps (&caps);
}

static void
on_no_more_pads (GstElement *source, gpointer user_data)
{
  App *app = user_data;

  if (!app->attached)
    GST_ELEMENT_ERROR (app->pipeline, STREAM, WRONG_TYPE, ("it holds no video"), (NULL));
}

/* Sound and subtitles are left as they are, and not connected. */
static gboolean
on_autoplug (GstElement *source, GstPad *pad, GstCaps *caps, gpointer user_data)
{
  const gchar *name = gst_structure_get_name (gst_caps_get_structure (caps, 0));

  return !g_str_has_prefix (name, "audio/") && !g_str_has_prefix (name, "text/") &&
      !g_str_has_prefix (name, "subpicture/");
}

static GstElement *
make_source (const Options *options, GError **error)
{
  GstElement *source;
  gchar *uri;

  uri = gst_uri_is_valid (options->video) ? g_strdup (options->video)
                                          : gst_filename_to_uri (options->video, error);
  if (!uri)
    return NULL;
  source = gst_element_factory_make ("uridecodebin", NULL);
  if (source)
    g_object_set (source, "uri", uri, NULL);
  else
    g_set_error (error, GST_CORE_ERROR, GST_CORE_ERROR_MISSING_PLUGIN,
        "GStreamer's uridecodebin is missing (gst-plugins-base)");
  g_free (uri);
  return source;
}

/* A moving scene with noise, three seconds or --frames long. */
static GstElement *
make_scene (const Options *options, GError **error)
{
  gint frames = options->frames > 0 ? options->frames : 90;
  gchar *caps = g_strdup_printf (
      "video/x-raw,width=%d,height=%d,framerate=30/1", options->width, options->height);
  gchar *description = g_strdup_printf (
      "videotestsrc num-buffers=%d pattern=smpte100 horizontal-speed=2 ! "
      "%s ! scene.sink_0 videotestsrc num-buffers=%d pattern=ball motion=sweep ! %s ! "
      "scene.sink_1 videotestsrc num-buffers=%d pattern=snow ! %s ! scene.sink_2 "
      "compositor name=scene sink_1::alpha=0.5 sink_2::alpha=0.2 ! capsfilter caps=%s,format=I420",
      frames, caps, frames, caps, frames, caps, caps);
  GstElement *bin = parse_bin (description, "scene-bin", error);

  g_free (description);
  g_free (caps);
  return bin;
}

static gboolean
build (App *app)
{
  const Options *options = &app->options;
  GError *error = NULL;
  GstElement *source;

  app->pipeline = gst_pipeline_new ("fenwick-run");
  app->filter = make_filter (options, &error);
  if (app->filter)
    gst_object_ref_sink (app->filter);
  source = !app->filter ? NULL
      : options->video  ? make_source (options, &error)
                        : make_scene (options, &error);
  if (!source) {
    fail (app, "%s", error->message);
    g_clear_error (&error);
    return FALSE;
  }
  app->measure = measure_new (app->filter);
  gst_bin_add (GST_BIN (app->pipeline), source);
  if (options->video) {
    g_signal_connect (source, "autoplug-continue", G_CALLBACK (on_autoplug), app);
    g_signal_connect (source, "pad-added", G_CALLBACK (on_decoded_pad), app);
    g_signal_connect (source, "no-more-pads", G_CALLBACK (on_no_more_pads), app);
  } else {
    GstPad *pad = gst_element_get_static_pad (source, "src");
    GstVideoInfo info;

    gst_video_info_set_format (&info, GST_VIDEO_FORMAT_I420, options->width, options->height);
    attach (app, pad, &info);
    gst_object_unref (pad);
  }
  return TRUE;
}

/* ---- running it ---- */

static gboolean
on_message (GstBus *bus, GstMessage *message, gpointer user_data)
{
  App *app = user_data;
  GError *error = NULL;

  switch (GST_MESSAGE_TYPE (message)) {
    case GST_MESSAGE_EOS:
      g_main_loop_quit (app->loop);
      break;
    case GST_MESSAGE_ERROR:
      gst_message_parse_error (message, &error, NULL);
      if (app->options.video)
        fail (app, "%s: %s", app->options.video, error->message);
      else
        fail (app, "%s", error->message);
      break;
    case GST_MESSAGE_WARNING:
      gst_message_parse_warning (message, &error, NULL);
      g_printerr ("fenwick-run: note: %s\n", error->message);
      break;
    default:
      break;
  }
  g_clear_error (&error);
  return G_SOURCE_CONTINUE;
}

static gboolean
on_interrupt (gpointer user_data)
{
  App *app = user_data;

  app->interrupted = TRUE;
  g_main_loop_quit (app->loop);
  return G_SOURCE_CONTINUE;
}

static gboolean
show_progress (gpointer user_data)
{
  App *app = user_data;
  guint64 frames = measure_frames (app->measure);
  GstClockTime position = measure_position (app->measure);
  gint64 duration = 0;
  gboolean terminal = isatty (STDERR_FILENO);

  if (frames == 0)
    return G_SOURCE_CONTINUE;
  g_printerr ("%s%8" G_GUINT64_FORMAT " frames", terminal ? "\r" : "", frames);
  if (GST_CLOCK_TIME_IS_VALID (position) &&
      gst_element_query_duration (app->pipeline, GST_FORMAT_TIME, &duration) && duration > 0)
    g_printerr (", %.0f s of %.0f s (%d %%)", (gdouble) position / GST_SECOND,
        (gdouble) duration / GST_SECOND,
        (gint) MIN (100, gst_util_uint64_scale (100, position, (guint64) duration)));
  g_printerr ("%s", terminal ? " " : "\n");
  return G_SOURCE_CONTINUE;
}

/* The property device-in-use of the first element inside the filter that has one. */
static gchar *
device_in_use (App *app)
{
  GstIterator *all = gst_bin_iterate_recurse (GST_BIN (app->filter));
  GValue item = G_VALUE_INIT;
  gchar *device = NULL;

  while (!device && gst_iterator_next (all, &item) == GST_ITERATOR_OK) {
    GObject *element = g_value_get_object (&item);

    if (g_object_class_find_property (G_OBJECT_GET_CLASS (element), "device-in-use"))
      g_object_get (element, "device-in-use", &device, NULL);
    g_value_reset (&item);
  }
  g_value_unset (&item);
  gst_iterator_free (all);
  return device ? device : g_strdup ("none");
}

static void
run (App *app)
{
  GstBus *bus = gst_element_get_bus (app->pipeline);
  guint watch = gst_bus_add_watch (bus, on_message, app);
  guint progress = g_timeout_add (isatty (STDERR_FILENO) ? 250 : 5000, show_progress, app);
  guint signals[2] = { g_unix_signal_add (SIGINT, on_interrupt, app),
    g_unix_signal_add (SIGTERM, on_interrupt, app) };

  app->loop = g_main_loop_new (NULL, FALSE);
  if (gst_element_set_state (app->pipeline, GST_STATE_PLAYING) == GST_STATE_CHANGE_FAILURE) {
    GstMessage *message = gst_bus_pop_filtered (bus, GST_MESSAGE_ERROR);

    if (message) {
      on_message (bus, message, app);
      gst_message_unref (message);
    }
    fail (app, "the pipeline does not start");
  } else {
    g_main_loop_run (app->loop);
  }
  app->device = device_in_use (app);
  gst_element_set_state (app->pipeline, GST_STATE_NULL);
  if (isatty (STDERR_FILENO))
    g_printerr ("\n");

  g_source_remove (signals[0]);
  g_source_remove (signals[1]);
  g_source_remove (progress);
  g_source_remove (watch);
  gst_object_unref (bus);
  g_clear_pointer (&app->loop, g_main_loop_unref);
}

/* ---- what came out ---- */

static gchar *
picture_path (const gchar *output)
{
  const gchar *dot = strrchr (output, '.'), *slash = strrchr (output, '/');
  gsize stem = dot && (!slash || dot > slash + 1) && dot != output ? (gsize) (dot - output)
                                                                   : strlen (output);

  return g_strdup_printf ("%.*s.png", (gint) stem, output);
}

static void
report (App *app, const gchar *picture)
{
  MeasureResult r;

  measure_result (app->measure, &r);
  g_print ("frames     %" G_GUINT64_FORMAT "\n", r.frames);
  g_print ("frames/s   %.1f (decoding, filter and encoding together)\n",
      r.frames / MAX (r.seconds, 1e-6));
  g_print ("filter     %.1f ms/frame\n", 1e3 * r.filter_seconds / (gdouble) r.frames);
  g_print ("size       %dx%d %s\n", r.info.width, r.info.height,
      gst_video_format_to_string (GST_VIDEO_INFO_FORMAT (&r.info)));
  g_print ("device     %s\n", app->device);
  if (!r.compared)
    g_print ("PSNR       unknown: the filter changes format or size\n");
  else if (isinf (r.psnr))
    g_print ("PSNR       infinite: every sample came out as it went in\n");
  else
    g_print ("PSNR       %.2f dB before the encoder, against the input (largest difference %.0f)\n",
        r.psnr, r.largest);
  g_print ("output     %s\n", app->options.output);
  g_print ("picture    %s\n", picture);
}

/* Gives the finished file its name, and writes the picture. */
static gboolean
finish (App *app)
{
  GstSample *in, *out;
  GError *error = NULL;
  gchar *picture;
  gboolean ok;

  if (!measure_pair (app->measure, &in, &out)) {
    fail (app, "%s: it holds no frame", app->options.video ? app->options.video : "the scene");
    return FALSE;
  }
  picture = picture_path (app->options.output);
  ok = picture_write (in, out, picture, &error);
  if (!ok) {
    fail (app, "%s", error->message);
    g_clear_error (&error);
  } else if (g_rename (app->partial, app->options.output) != 0) {
    fail (app, "%s: %s", app->options.output, g_strerror (errno));
    ok = FALSE;
  } else {
    report (app, picture);
  }
  gst_sample_unref (in);
  gst_sample_unref (out);
  g_free (picture);
  return ok;
}

/* ---- the command ---- */

static gboolean
parse_size (const gchar *name, const gchar *value, gpointer data, GError **error)
{
  Options *options = data;
  gchar rest;

  if (sscanf (value, "%dx%d%c", &options->width, &options->height, &rest) == 2 &&
      options->width >= 1 && options->height >= 1 && options->width <= 32768 &&
      options->height <= 32768)
    return TRUE;
  g_set_error (error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE, "%s wants WIDTHxHEIGHT, not %s",
      name, value);
  return FALSE;
}

static gboolean
parse_options (Options *o, int *argc, char ***argv, GError **error)
{
  const GOptionEntry entries[] = {
    { "weights", 'w', 0, G_OPTION_ARG_FILENAME, &o->weights, "Weights file", "FILE" },
    { "preset", 'p', 0, G_OPTION_ARG_STRING, &o->preset,
        "Network to use without weights: thin, full, tiny, seed, large", "NAME" },
    { "device", 'd', 0, G_OPTION_ARG_STRING, &o->device, "auto, cpu, cuda or cuda:N", "NAME" },
    { "precision", 0, 0, G_OPTION_ARG_STRING, &o->precision, "auto, float32, bfloat16", "NAME" },
    { "frames", 'n', 0, G_OPTION_ARG_INT, &o->frames, "Stop after so many frames", "N" },
    { "size", 's', 0, G_OPTION_ARG_CALLBACK, parse_size, "Size of the scene without a VIDEO",
        "WIDTHxHEIGHT" },
    { "filter", 'f', 0, G_OPTION_ARG_STRING, &o->filter,
        "gst-launch line in place of fenwickfilter", "ELEMENTS" },
    { NULL },
  };
  GOptionContext *context = g_option_context_new ("[VIDEO] [OUTPUT]");
  GOptionGroup *group = g_option_group_new ("fenwick-run", "", "", o, NULL);
  gboolean ok;

  g_option_group_add_entries (group, entries);
  g_option_context_set_main_group (context, group);
  g_option_context_add_group (context, gst_init_get_option_group ());
  g_option_context_set_summary (context,
      "Sends VIDEO (or a noisy moving scene) through "
      "fenwickfilter into OUTPUT (./fenwick-out.mkv),\nFFV1 in Matroska, and writes input and "
      "output side by side as a PNG beside it.");
  ok = g_option_context_parse (context, argc, argv, error);
  g_option_context_free (context);
  return ok;
}

/* Says no before anything starts to what cannot work. */
static gboolean
check_files (App *app)
{
  const gchar *video = app->options.video;
  gchar *a, *b;

  if (!video || gst_uri_is_valid (video))
    return TRUE;
  if (!g_file_test (video, G_FILE_TEST_EXISTS))
    fail (app, "%s: no such file", video);
  else if (g_file_test (video, G_FILE_TEST_IS_DIR))
    fail (app, "%s: is a folder, not a video", video);
  a = realpath (video, NULL);
  b = realpath (app->options.output, NULL);
  if (g_strcmp0 (a, b) == 0 && a)
    fail (app, "%s: is the input, and would be overwritten", app->options.output);
  free (a);
  free (b);
  return app->failure == NULL;
}

int
main (int argc, char **argv)
{
  App app = { .options = { .width = 320, .height = 240 } };
  GError *error = NULL;
  gboolean done = FALSE;

  setlocale (LC_ALL, "");
  if (!parse_options (&app.options, &argc, &argv, &error)) {
    fail (&app, "%s", error->message);
  } else if (argc > 3) {
    fail (&app, "at most one VIDEO and one OUTPUT; see --help");
  } else {
    app.options.video = argc > 1 && *argv[1] ? argv[1] : NULL;
    app.options.output = argc > 2 && *argv[2] ? argv[2] : "./fenwick-out.mkv";
    app.partial = g_strconcat (app.options.output, ".part", NULL);
    if (check_files (&app) && build (&app)) {
      run (&app);
      done = !app.failure && !app.interrupted && finish (&app);
      if (!done)
        g_unlink (app.partial);
    }
  }
  if (app.failure)
    g_printerr ("fenwick-run: %s\n", app.failure);
  else if (app.interrupted)
    g_printerr ("fenwick-run: interrupted, nothing written\n");

  g_clear_pointer (&app.measure, measure_free);
  gst_clear_object (&app.filter);
  gst_clear_object (&app.pipeline);
  g_clear_error (&error);
  g_free (app.partial);
  g_free (app.device);
  g_free (app.failure);
  g_free (app.options.weights);
  g_free (app.options.preset);
  g_free (app.options.device);
  g_free (app.options.precision);
  g_free (app.options.filter);
  gst_deinit ();
  return done ? 0 : app.interrupted ? 130 : 1;
}
