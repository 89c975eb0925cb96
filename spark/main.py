"""What an EMR step starts; the package comes along as a zip file (`--py-files`)."""

from tidegate_spark.job import main

if __name__ == "__main__":
    raise SystemExit(main())
