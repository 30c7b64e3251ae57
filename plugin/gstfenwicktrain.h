/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef GST_FENWICK_TRAIN_H
#define GST_FENWICK_TRAIN_H

#include <gst/base/gstbasesink.h>
#include <gst/video/video.h>

#include "fw.h"
#include "gstfenwickreset.h"

G_BEGIN_DECLS

#define GST_TYPE_FENWICK_TRAIN (gst_fenwick_train_get_type ())
G_DECLARE_FINAL_TYPE (GstFenwickTrain, gst_fenwick_train, GST, FENWICK_TRAIN,
    GstBaseSink)

typedef struct
{
  gchar *location;
  gchar *weights, *preset, *device, *loss;
  gchar *checkpoint_location, *metrics_location, *tensorboard_location;
  gint task, noise_type, moments;       /* as params has them, for GValue */
  guint checkpoint_interval, checkpoint_keep, report_interval;
  gboolean resume;
  /* everything else; its strings, enums and loss are filled in at start */
  struct fw_trainer_params params;
} GstFenwickTrainSettings;

/* What messages and the stats property show; filled by the streaming thread. */
typedef struct
{
  struct fw_train_report now;
  gdouble clips_per_second;     /* since the last report */
  GstClockTime left;            /* NONE: not known */
  gchar device[64];
  gchar *checkpoint;            /* last one written, or NULL */
} GstFenwickTrainFigures;

typedef enum
{
  GST_FENWICK_SEEK_NONE,
  GST_FENWICK_SEEK_PENDING,
  GST_FENWICK_SEEK_ACCEPTED,
  GST_FENWICK_SEEK_REFUSED,
} GstFenwickSeek;

/*
 * Locking: settings and figures under the object lock. The trainer is used by
 * one thread at a time, which holds trainer_lock: the streaming thread, or an
 * application in "save", which is let in between two steps. Fields without a
 * note belong to the streaming thread, which holds the preroll lock.
 */
struct _GstFenwickTrain
{
  GstBaseSink parent;

  GstFenwickTrainSettings settings;
  GstFenwickTrainFigures figures;

  GMutex trainer_lock;
  GCond served;                 /* nobody waits in "save" any more */
  gint savers;                  /* atomic: how many wait */
  struct fw_trainer *trainer;   /* from PAUSED on, until NULL or PAUSED again */
  struct fw_metrics *metrics;

  gint stop;                    /* atomic: end after the current step */
  gint failed;                  /* atomic: an error is posted already */
  gint ended;                   /* atomic: EOS has passed, and no flush since */
  gboolean spoilt;              /* nothing may be written any more */
  gboolean started;             /* PROGRESS of the start is posted */
  gboolean finished;            /* all is on disk */
  guint64 saved;                /* the step that location holds */
  guint64 checkpointed;         /* the step of the last checkpoint */
  guint64 reported;             /* the step of the last report */
  guint64 begun;                /* the step that this run began with */

  GstFenwickReset reset;        /* where frames do not follow each other */
  GstVideoInfo info;
  GstVideoInfo rgb;
  GstVideoConverter *converter; /* NULL: the input is RGB already */
  GstBuffer *picture;           /* a converted frame */

  guint64 frames;               /* since the start */
  guint64 pass_frames;          /* since the last rewind */
  guint streams;                /* since the last rewind */
  GstClockTime end;             /* of the last frame, in stream time */
  GstClockID patience;          /* runs out, or NULL; object lock */
  GstFenwickSeek seek;          /* under the preroll lock */
  guint seek_serial;

  gint64 clock, report_clock;   /* when steps began, the last report; us */
  gint64 paused;                /* us of waiting for PLAYING since clock */
  guint64 report_clips;
};

/* Properties: gstfenwicktrainprops.c. */
void gst_fenwick_train_install (GObjectClass * klass);
void gst_fenwick_train_settings_init (GstFenwickTrainSettings * settings);
void gst_fenwick_train_settings_copy (GstFenwickTrainSettings * to,
    const GstFenwickTrainSettings * from);
void gst_fenwick_train_settings_clear (GstFenwickTrainSettings * settings);
void gst_fenwick_train_set_property (GObject * object, guint id,
    const GValue * value, GParamSpec * pspec);
void gst_fenwick_train_get_property (GObject * object, guint id,
    GValue * value, GParamSpec * pspec);
const gchar *gst_fenwick_train_task_name (gint task);

/* What the application hears: gstfenwicktrainmessages.c. */
void gst_fenwick_train_progress (GstFenwickTrain * self,
    GstProgressType type, const gchar * code, const gchar * format, ...)
    G_GNUC_PRINTF (4, 5);
/* Posts a failure of the model unless one is posted already, and frees it. */
void gst_fenwick_train_error (GstFenwickTrain * self, GError * error,
    const gchar * hint);
/* The same for a failure with a domain and code of its own. */
void gst_fenwick_train_fail (GstFenwickTrain * self, GQuark domain, gint code,
    gchar * text);
/* Fetches the figures after a step. */
void gst_fenwick_train_update (GstFenwickTrain * self);
/* Posts them, and writes a row of metrics. */
gboolean gst_fenwick_train_report (GstFenwickTrain * self);
GstStructure *gst_fenwick_train_stats (GstFenwickTrain * self,
    const gchar * name);

/* Files: gstfenwicktrainfiles.c. All post the error and return FALSE. */
gboolean gst_fenwick_train_check_files (GstFenwickTrain * self);
gboolean gst_fenwick_train_write_checkpoint (GstFenwickTrain * self);
/* Everything that the steps since the start have earned. */
gboolean gst_fenwick_train_write_all (GstFenwickTrain * self);

/* Pictures: gstfenwicktrainframes.c. These post the error, too. */
gboolean gst_fenwick_train_set_caps (GstBaseSink * sink, GstCaps * caps);
gboolean gst_fenwick_train_give (GstFenwickTrain * self, GstBuffer * buffer);
void gst_fenwick_train_drop_converter (GstFenwickTrain * self);

/* Steps: gstfenwicktrainsteps.c. Around each use of the trainer by the
 * streaming thread: */
void gst_fenwick_train_enter (GstFenwickTrain * self);
void gst_fenwick_train_leave (GstFenwickTrain * self);
/* Says that training begins. */
void gst_fenwick_train_announce (GstFenwickTrain * self);
/* All steps that are due, unless "stop" comes in between. */
GstFlowReturn gst_fenwick_train_run_steps (GstFenwickTrain * self);
/* Writes everything, so that EOS may follow. FALSE: an error is posted. */
gboolean gst_fenwick_train_finish (GstFenwickTrain * self, const gchar * why);

/* The end of a source: gstfenwicktraineos.c. */
void gst_fenwick_train_note_frame (GstFenwickTrain * self, GstBuffer * buffer);
/* The source has been told to end and will say EOS, or EOS has passed and the
 * application will end: else this element sees to it. */
void gst_fenwick_train_start_patience (GstFenwickTrain * self);
void gst_fenwick_train_end_patience (GstFenwickTrain * self);
/* Hides from the base class what comes after EOS. */
void gst_fenwick_train_watch_end (GstFenwickTrain * self);
/* EOS came. FALSE: it goes no further. */
gboolean gst_fenwick_train_take_eos (GstFenwickTrain * self);

#define gst_fenwick_is_set(text) ((text) && *(text))

GST_ELEMENT_REGISTER_DECLARE (fenwicktrain);

G_END_DECLS

#endif
